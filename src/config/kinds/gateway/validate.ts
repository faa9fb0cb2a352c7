/** Validation of Gateway: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import {
  isAddress,
  isDnsLabel,
  isWildcardDomain,
  labels,
  port as portNumber,
  uint32,
} from '../../schema/names.ts';
import { type Rule, type Schema, list, object, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { serverTls } from './server_tls.ts';
import type { Gateway, Port, Server } from './types.ts';

const protocols = [
  'HTTP',
  'HTTPS',
  'HTTP2',
  'GRPC',
  'GRPC-WEB',
  'TLS',
  'TCP',
  'MONGO',
  'MYSQL',
  'REDIS',
  'UDP',
  'HTTP_PROXY',
  'HBONE',
];

/** A protocol name, in any case. */
export const protocol: Schema<string> = string({
  expected: `a protocol: one of ${protocols.slice(0, 8).join(', ')}`,
  code: 'invalid_protocol',
  test: (name) => protocols.includes(name.toUpperCase()),
});

/** A name of a port: a DNS label. */
export const portName: Schema<string> = string({
  expected: 'a port name such as "http"',
  code: 'invalid_name',
  test: isDnsLabel,
});

/** `namespace/host` or `host`, where the namespace may be `*` or `.`. */
export const gatewayHost: Rule<string> = (text, at) => {
  const slash = text.indexOf('/');
  const namespace = slash === -1 ? undefined : text.slice(0, slash);
  const host = text.slice(slash + 1);
  if (namespace !== undefined && !['*', '.'].includes(namespace) && !isDnsLabel(namespace)) {
    at.mismatch('invalid_name', 'a namespace, "*" or "." before the slash', text);
  } else if (!isWildcardDomain(host) && !isAddress(host)) {
    at.mismatch('invalid_host', 'a DNS name, possibly with a wildcard in front, "*", or an address', text);
  }
};

const server = object<Server>(
  {
    port: object<Port>(
      { number: portNumber, protocol, name: portName, targetPort: uint32 },
      { required: ['number', 'protocol', 'name'] },
    ),
    bind: string({
      expected: 'an address',
      code: 'invalid_address',
      test: (bind) => bind === '' || isAddress(bind) || bind.startsWith('unix://'),
    }),
    hosts: list(string({ rule: gatewayHost }), { min: 1 }),
    tls: serverTls,
    defaultEndpoint: string(),
    name: string(),
  },
  { required: ['port', 'hosts'], rule: checkServer },
);

/** TLS and the protocol must go together. */
function checkServer(value: Server, at: Checker): void {
  const name = (value.port?.protocol ?? '').toUpperCase();
  const isTls = name === 'HTTPS' || name === 'TLS';
  const terminates = value.tls !== undefined && value.tls.httpsRedirect !== true;
  if (isTls && value.tls === undefined) at.error('missing_field', `required for ${name}: tls`, ['tls']);
  else if (isTls && value.tls?.httpsRedirect === true) {
    at.error('conflict', 'httpsRedirect is for plain HTTP servers', ['tls', 'httpsRedirect']);
  } else if (!isTls && terminates) {
    at.error('conflict', `tls cannot stand beside protocol ${name}: use HTTPS or TLS`, ['tls']);
  }
}

/** `spec` of a Gateway. */
export const gatewaySpec: Schema<Gateway> = object<Gateway>(
  { servers: list(server, { min: 1 }), selector: labels },
  { required: ['servers'], rule: checkNames },
);

/** Names of servers are unique; a port name belongs to one number. */
function checkNames({ servers = [] }: Gateway, at: Checker): void {
  const names = new Set<string>();
  const ports = new Map<string, number | undefined>();
  for (const [index, { name = '', port }] of servers.entries()) {
    if (name !== '' && names.has(name))
      at.error('duplicate', `duplicate server name "${name}"`, ['servers', index, 'name']);
    names.add(name);
    const portLabel = port?.name ?? '';
    if (ports.has(portLabel)) {
      at.error('duplicate', `port names in servers must be unique: duplicate name "${portLabel}"`, [
        'servers',
        index,
        'port',
        'name',
      ]);
    }
    ports.set(portLabel, port?.number);
  }
}

/** Body of a Gateway. */
export const gatewayBody = specBody(gatewaySpec);
