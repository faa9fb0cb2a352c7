/** Validation of Sidecar: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import { isAddress, isDnsLabel, isWildcardDomain, uint32 } from '../../schema/names.ts';
import { type Rule, type Schema, integer, list, map, object, oneOf, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { connectionPool } from '../destination_rule/connection_pool.ts';
import { serverTls } from '../gateway/server_tls.ts';
import { portName, protocol } from '../gateway/validate.ts';
import { checkSelectorLabels } from '../selector_schema.ts';
import { destination } from '../virtual_service/destination.ts';
import { checkIngressTls } from './ingress_tls.ts';
import type {
  IstioEgressListener,
  IstioIngressListener,
  Sidecar,
  SidecarOutboundTrafficPolicy,
  SidecarPort,
  SidecarWorkloadSelector,
} from './types.ts';

/** `istio.networking.v1alpha3.WorkloadSelector`. */
export const sidecarWorkloadSelector: Schema<SidecarWorkloadSelector> = object<SidecarWorkloadSelector>({
  labels: map(string(), { rule: checkSelectorLabels }),
});

const port = object<SidecarPort>({
  number: integer({ min: 0, max: 65_535, expected: 'a port from 1 to 65535' }),
  protocol,
  name: portName,
  targetPort: uint32,
});

const captureMode = oneOf('DEFAULT', 'IPTABLES', 'NONE');

/** `unix:///path` or `unix://@name`; undefined for anything else. */
export function unixPath(text: string): string | undefined {
  if (!text.startsWith('unix://')) return undefined;
  const path = text.slice('unix://'.length);
  return path.startsWith('@') || (path.startsWith('/') && !path.endsWith('/')) ? path : undefined;
}

function isLocalEndpoint(text: string): boolean {
  const match = /^(?:127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]):(\d{1,5})$/.exec(text);
  return match !== null && Number(match[1]) >= 1 && Number(match[1]) <= 65_535;
}

const ingressListener = object<IstioIngressListener>(
  {
    port,
    bind: string({
      expected: 'an address',
      code: 'invalid_address',
      test: (bind) => bind === '' || isAddress(bind),
    }),
    captureMode,
    defaultEndpoint: string({
      expected: '127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH',
      code: 'invalid_address',
      test: (text) => text === '' || isLocalEndpoint(text) || unixPath(text) !== undefined,
    }),
    tls: serverTls,
    connectionPool,
  },
  {
    required: ['port'],
    rule(listener, at) {
      if ((listener.port?.number ?? 0) === 0)
        at.mismatch('invalid_port', 'a port from 1 to 65535', listener.port?.number, ['port', 'number']);
      checkIngressTls(listener, at);
    },
  },
);

/** `namespace/host`. */
const egressHost: Rule<string> = (text, at) => {
  const slash = text.indexOf('/');
  const namespace = text.slice(0, Math.max(slash, 0));
  const host = text.slice(slash + 1);
  if (slash === -1 || host === '' || !(['*', '.', '~'].includes(namespace) || isDnsLabel(namespace))) {
    at.mismatch('invalid_host', '"namespace/host", where namespace is a name, "*", "." or "~"', text);
  } else if (!isWildcardDomain(host)) {
    at.mismatch('invalid_host', 'a DNS name, possibly with a wildcard in front, after the slash', text);
  }
};

const egressListener = object<IstioEgressListener>(
  {
    port,
    bind: string({
      expected: 'an address or unix:///PATH',
      code: 'invalid_address',
      test: (bind) => bind === '' || isAddress(bind) || unixPath(bind) !== undefined,
    }),
    captureMode,
    hosts: list(string({ rule: egressHost }), { min: 1, rule: checkDuplicates }),
  },
  { required: ['hosts'], rule: checkEgress },
);

function checkDuplicates(hosts: readonly string[], at: Checker): void {
  const seen = new Set<string>();
  for (const [index, host] of hosts.entries()) {
    if (seen.has(host)) at.error('duplicate', `duplicate host "${host}"`, [index]);
    seen.add(host);
  }
}

function checkEgress(
  { port: listenerPort, bind = '', captureMode: mode }: IstioEgressListener,
  at: Checker,
): void {
  if (listenerPort === undefined) {
    if (bind !== '') at.error('conflict', 'bind needs a port', ['bind']);
    return;
  }
  const isUnix = bind.startsWith('unix://');
  if ((listenerPort.number ?? 0) === 0 && !isUnix) {
    at.mismatch('invalid_port', 'a port from 1 to 65535, or 0 with a Unix socket', listenerPort.number, [
      'port',
      'number',
    ]);
  } else if ((listenerPort.number ?? 0) !== 0 && isUnix) {
    at.mismatch('conflict', 'an address, as the port is not 0', bind, ['bind']);
  }
  if (isUnix && mode === 'IPTABLES')
    at.error('conflict', 'a Unix socket cannot be captured: use DEFAULT or NONE', ['captureMode']);
}

const outboundTrafficPolicy = object<SidecarOutboundTrafficPolicy>(
  { mode: oneOf('REGISTRY_ONLY', 'ALLOW_ANY'), egressProxy: destination },
  {
    rule({ mode, egressProxy }, at) {
      if (egressProxy === undefined) return;
      if (mode !== 'ALLOW_ANY') at.error('conflict', 'egressProxy needs mode ALLOW_ANY', ['egressProxy']);
      if (egressProxy.port === undefined)
        at.error('missing_field', 'required: port', ['egressProxy', 'port']);
    },
  },
);

/** `spec` of a Sidecar. */
export const sidecarSpec: Schema<Sidecar> = object<Sidecar>(
  {
    workloadSelector: sidecarWorkloadSelector,
    ingress: list(ingressListener),
    egress: list(egressListener),
    inboundConnectionPool: connectionPool,
    outboundTrafficPolicy,
  },
  { rule: checkSpec },
);

/** Body of a Sidecar. */
export const sidecarBody = specBody(sidecarSpec);

function checkSpec(spec: Sidecar, at: Checker): void {
  const { ingress = [], egress = [] } = spec;
  const nothing = spec.inboundConnectionPool === undefined && spec.outboundTrafficPolicy === undefined;
  if (ingress.length + egress.length === 0 && nothing) {
    at.error(
      'missing_field',
      'empty configuration: name ingress, egress, inboundConnectionPool or outboundTrafficPolicy',
    );
  }
  const ingressPorts = new Set<number>();
  for (const [index, { port: listenerPort }] of ingress.entries()) {
    const number = listenerPort?.number ?? 0;
    if (ingressPorts.has(number))
      at.error('duplicate', `duplicate ingress port ${number}`, ['ingress', index, 'port', 'number']);
    ingressPorts.add(number);
  }
  const sockets = new Set<string>();
  for (const [index, { port: listenerPort, bind = '' }] of egress.entries()) {
    if (listenerPort === undefined) {
      if (index < egress.length - 1)
        at.error('conflict', 'only the last listener may stand without port', ['egress', index]);
      continue;
    }
    const socket = bind.startsWith('unix://') ? bind : `${bind}:${listenerPort.number}`;
    if (sockets.has(socket)) at.error('duplicate', `duplicate egress listener ${socket}`, ['egress', index]);
    sockets.add(socket);
  }
}
