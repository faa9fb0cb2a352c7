/** Validation of AuthorizationPolicy: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import { isCidr, isDnsLabel, isObjectName } from '../../schema/names.ts';
import { type Schema, list, object, oneOf, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { attachmentFields, targetReference, targetReferences, workloadSelector } from '../selector_schema.ts';
import { checkCondition } from './condition.ts';
import { checkPathPattern } from './path_pattern.ts';
import type { AuthorizationPolicy, Condition, Operation, Rule, Source } from './types.ts';

/** Most rules and most sources or operations of one rule. */
const maxItems = 512;
const maxServiceAccounts = 16;

const values = list(string({ minLength: 1 }));
const addresses = list(
  string({ expected: 'an address or network such as "10.0.0.0/8"', code: 'invalid_address', test: isCidr }),
);
const ports = list(
  string({
    expected: 'a port from 1 to 65535, as a string',
    code: 'invalid_port',
    test: (port) => /^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535,
  }),
);
const paths = list(string({ minLength: 1, rule: checkPathPattern }));
const serviceAccounts = list(
  string({
    expected: 'a service account as "name" or "namespace/name", without wildcards',
    code: 'invalid_name',
    maxLength: 320,
    test(text) {
      const [first = '', second, ...more] = text.split('/');
      if (more.length > 0) return false;
      return second === undefined ? isObjectName(first) : isDnsLabel(first) && isObjectName(second);
    },
  }),
  { max: maxServiceAccounts },
);

function isEmpty(value: object): boolean {
  return Object.values(value).every(
    (field) => field === undefined || field === null || (Array.isArray(field) && field.length === 0),
  );
}

const source = object<Source>(
  {
    principals: values,
    notPrincipals: values,
    requestPrincipals: values,
    notRequestPrincipals: values,
    namespaces: values,
    notNamespaces: values,
    serviceAccounts,
    notServiceAccounts: serviceAccounts,
    ipBlocks: addresses,
    notIpBlocks: addresses,
    remoteIpBlocks: addresses,
    notRemoteIpBlocks: addresses,
    trustDomains: values,
    notTrustDomains: values,
  },
  {
    rule(value, at) {
      if (isEmpty(value)) at.error('missing_field', 'source cannot be empty: name at least one field');
      if (value.serviceAccounts === undefined && value.notServiceAccounts === undefined) return;
      for (const field of ['principals', 'notPrincipals', 'namespaces', 'notNamespaces'] as const) {
        if (value[field] !== undefined) {
          at.error('mutually_exclusive', 'cannot set serviceAccounts with namespaces or principals', [field]);
        }
      }
    },
  },
);

const operation = object<Operation>(
  {
    hosts: values,
    notHosts: values,
    ports,
    notPorts: ports,
    methods: values,
    notMethods: values,
    paths,
    notPaths: paths,
  },
  {
    rule(value, at) {
      if (isEmpty(value)) at.error('missing_field', 'operation cannot be empty: name at least one field');
    },
  },
);

const rule = object<Rule>({
  from: list(object<{ readonly source?: Source }>({ source }, { required: ['source'] }), {
    min: 1,
    max: maxItems,
  }),
  to: list(object<{ readonly operation?: Operation }>({ operation }, { required: ['operation'] }), {
    min: 1,
    max: maxItems,
  }),
  when: list(
    object<Condition>(
      { key: string(), values, notValues: values },
      { required: ['key'], rule: checkCondition },
    ),
  ),
});

/** `spec` of an AuthorizationPolicy. */
export const authorizationPolicySpec: Schema<AuthorizationPolicy> = object<AuthorizationPolicy>(
  {
    selector: workloadSelector,
    targetRef: targetReference,
    targetRefs: targetReferences,
    rules: list(rule, { max: maxItems }),
    action: oneOf('ALLOW', 'DENY', 'AUDIT', 'CUSTOM'),
    provider: object<{ readonly name?: string }>({ name: string() }),
  },
  { atMostOneOf: [attachmentFields], rule: checkPolicy },
);

function checkPolicy(policy: AuthorizationPolicy, at: Checker): void {
  const { action = 'ALLOW', rules = [] } = policy;
  if (action === 'CUSTOM') {
    if ((policy.provider?.name ?? '') === '') {
      at.error('missing_field', 'required for CUSTOM: the name of an extension provider', [
        'provider',
        'name',
      ]);
    }
  } else if (policy.provider !== undefined) {
    at.error('mutually_exclusive', `provider cannot stand beside action ${action}: it is for CUSTOM`, [
      'provider',
    ]);
  }
  if ((action === 'CUSTOM' || action === 'DENY') && rules.length === 0) {
    at.error(
      'missing_field',
      `${action} action without rules is meaningless as it will never be triggered; an empty rule {} matches every request`,
      ['rules'],
    );
  }
  if (action === 'DENY')
    rules.forEach((entry, index) => at.within(['rules', index], () => warnTcp(entry, at)));
}

const httpSources = [
  'requestPrincipals',
  'notRequestPrincipals',
  'remoteIpBlocks',
  'notRemoteIpBlocks',
] as const;
const httpOperations = ['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths'] as const;

/** A DENY rule of HTTP attributes alone denies everything on TCP ports: they cannot be evaluated there. */
function warnTcp({ from = [], to = [], when = [] }: Rule, at: Checker): void {
  const usesHttp =
    from.some(({ source: value = {} }) => httpSources.some((field) => value[field] !== undefined)) ||
    to.some(({ operation: value = {} }) => httpOperations.some((field) => value[field] !== undefined)) ||
    when.some(({ key = '' }) => key.startsWith('request.'));
  const namesPort =
    to.some(({ operation: value = {} }) => value.ports !== undefined || value.notPorts !== undefined) ||
    when.some(({ key }) => key === 'destination.port');
  if (usesHttp && !namesPort) {
    at.warn(
      'no_effect',
      'a DENY rule of HTTP attributes denies all traffic of TCP ports: name the ports it is for',
    );
  }
}

/** Body of an AuthorizationPolicy. */
export const authorizationPolicyBody = specBody(authorizationPolicySpec);
