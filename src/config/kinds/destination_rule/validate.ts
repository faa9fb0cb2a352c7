/** Validation of DestinationRule: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import { duration } from '../../schema/duration.ts';
import {
  exportTo,
  isAddress,
  isDnsLabel,
  isFqdn,
  isWildcardDomain,
  labels,
  port,
  uint32,
} from '../../schema/names.ts';
import { type Schema, list, number, object, oneOf, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { workloadSelector } from '../selector_schema.ts';
import { portSelector } from '../virtual_service/destination.ts';
import { clientTls, connectionPool, outlierDetection } from './connection_pool.ts';
import { loadBalancer } from './load_balancer.ts';
import type {
  DestinationRule,
  PortPolicyBlocks,
  PortTrafficPolicy,
  ProxyProtocol,
  RetryBudget,
  Subset,
  TrafficPolicy,
  TunnelSettings,
} from './types.ts';

const blocks = { loadBalancer, connectionPool, outlierDetection, tls: clientTls };

const portTrafficPolicy = object<PortTrafficPolicy>(
  { ...blocks, port: portSelector },
  {
    required: ['port'],
    rule(value, at) {
      if (Object.keys(value).length < 2)
        at.error('missing_field', 'port level settings must have at least one block');
      checkBlocks(value, at);
    },
  },
);

const tunnel = object<TunnelSettings>(
  {
    protocol: oneOf('CONNECT', 'POST'),
    targetHost: string({
      expected: 'a DNS name or an address',
      code: 'invalid_host',
      test: (host) => isFqdn(host) || isAddress(host),
    }),
    targetPort: port,
  },
  { required: ['targetHost', 'targetPort'] },
);

const trafficPolicy = object<TrafficPolicy>(
  {
    ...blocks,
    portLevelSettings: list(portTrafficPolicy),
    tunnel,
    proxyProtocol: object<ProxyProtocol>({ version: oneOf('V1', 'V2') }),
    retryBudget: object<RetryBudget>({
      percent: number({ min: 0, max: 100 }),
      minRetryConcurrency: uint32,
      budgetInterval: duration({ minMs: 0 }),
    }),
  },
  {
    rule(value, at) {
      if (Object.values(value).every((block) => block === undefined || block === null)) {
        at.error('missing_field', 'a traffic policy must have at least one block');
      }
      if (value.tunnel !== undefined && value.proxyProtocol !== undefined) {
        at.error('mutually_exclusive', 'proxyProtocol cannot stand beside tunnel', ['proxyProtocol']);
      }
      checkBlocks(value, at);
    },
  },
);

/** Blocks that need each other. */
function checkBlocks(value: PortPolicyBlocks, at: Checker): void {
  const locality = value.loadBalancer?.localityLbSetting;
  const failsOver = (locality?.failover ?? []).length + (locality?.failoverPriority ?? []).length > 0;
  if (failsOver && value.outlierDetection === undefined) {
    at.warn('no_effect', 'failover needs outlierDetection: without it nothing is ever found unhealthy', [
      'loadBalancer',
      'localityLbSetting',
    ]);
  }
}

const subset = object<Subset>(
  {
    name: string({ expected: 'a DNS label such as "v1"', code: 'invalid_name', test: isDnsLabel }),
    labels,
    trafficPolicy,
  },
  { required: ['name'] },
);

/** `spec` of a DestinationRule. */
export const destinationRuleSpec: Schema<DestinationRule> = object<DestinationRule>(
  {
    host: string({
      expected: 'the name of a service, possibly with a wildcard in front',
      code: 'invalid_host',
      test: isWildcardDomain,
    }),
    trafficPolicy,
    subsets: list(subset),
    exportTo: list(string(), { rule: exportTo }),
    workloadSelector,
  },
  {
    required: ['host'],
    rule(value, at) {
      const seen = new Set<string>();
      for (const [index, { name = '' }] of (value.subsets ?? []).entries()) {
        if (seen.has(name)) at.error('duplicate', `duplicate subset "${name}"`, ['subsets', index, 'name']);
        seen.add(name);
      }
    },
  },
);

/** Body of a DestinationRule. */
export const destinationRuleBody = specBody(destinationRuleSpec);
