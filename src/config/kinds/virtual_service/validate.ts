/** Validation of VirtualService: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import {
  exportTo,
  hostsOverlap,
  isAddress,
  isDnsLabel,
  isWildcardDomain,
  labels,
  port,
} from '../../schema/names.ts';
import { type Schema, list, object, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { checkSniHosts, checkWeights, destination, gatewayNames, subnet, weight } from './destination.ts';
import { httpRoute } from './http_route.ts';
import { claimHeaderPrefix } from './match.ts';
import type {
  HTTPRoute,
  L4MatchAttributes,
  RouteDestination,
  TCPRoute,
  TLSMatchAttributes,
  TLSRoute,
  VirtualService,
} from './types.ts';
import { warnUnreachable } from './unreachable.ts';

/** Most hosts of one object: each is compared with each. */
const maxHosts = 4096;

const sourceNamespace = string({
  expected: 'a namespace',
  code: 'invalid_name',
  test: (namespace) => namespace === '' || isDnsLabel(namespace),
});

const l4Route: Schema<readonly RouteDestination[]> = list(
  object<RouteDestination>({ destination, weight }, { required: ['destination'] }),
  { rule: checkWeights },
);

const tlsRoute = object<TLSRoute>(
  {
    match: list(
      object<TLSMatchAttributes>(
        {
          sniHosts: list(string(), { min: 1 }),
          destinationSubnets: list(subnet),
          port,
          sourceLabels: labels,
          gateways: list(string(), { rule: gatewayNames }),
          sourceNamespace,
        },
        { required: ['sniHosts'] },
      ),
      { min: 1 },
    ),
    route: l4Route,
  },
  {
    required: ['match'],
    rule(value, at) {
      if ((value.route ?? []).length === 0) at.error('missing_field', 'required: route', ['route']);
    },
  },
);

const tcpRoute = object<TCPRoute>(
  {
    match: list(
      object<L4MatchAttributes>({
        destinationSubnets: list(subnet),
        port,
        sourceSubnet: subnet,
        sourceLabels: labels,
        gateways: list(string(), { rule: gatewayNames }),
        sourceNamespace,
      }),
    ),
    route: l4Route,
  },
  {
    rule(value, at) {
      if ((value.route ?? []).length === 0) at.error('missing_field', 'required: route', ['route']);
    },
  },
);

/** `spec` of a VirtualService. */
export const virtualServiceSpec: Schema<VirtualService> = object<VirtualService>(
  {
    hosts: list(
      string({
        expected: 'a DNS name (possibly with a wildcard in front), "*", or an address',
        code: 'invalid_host',
        test: (host) => isWildcardDomain(host) || isAddress(host),
      }),
      { max: maxHosts },
    ),
    gateways: list(string(), { rule: gatewayNames }),
    http: list(httpRoute),
    tls: list(tlsRoute),
    tcp: list(tcpRoute),
    exportTo: list(string(), { rule: exportTo }),
  },
  { rule: checkSpec },
);

/** Body of a VirtualService. */
export const virtualServiceBody = specBody(virtualServiceSpec);

function checkSpec(spec: VirtualService, at: Checker): void {
  const { hosts = [], gateways = [], http = [], tls = [], tcp = [] } = spec;
  const forMesh = gateways.length === 0 || gateways.includes('mesh');
  const forGateway = gateways.some((name) => name !== 'mesh');
  if (hosts.length === 0) checkDelegate(spec, at);
  for (const [index, host] of hosts.entries()) {
    if (forMesh && host === '*') {
      at.error('invalid_host', 'host "*" is only for gateways: sidecars need names of services', [
        'hosts',
        index,
      ]);
    }
    const other = hosts.findIndex((earlier, position) => position < index && hostsOverlap(earlier, host));
    if (other !== -1) {
      at.error('duplicate', `duplicate hosts: "${host}" overlaps with "${hosts[other]}"`, ['hosts', index]);
    }
  }
  if (http.length + tls.length + tcp.length === 0)
    at.error('missing_field', 'required: http, tls or tcp', ['http']);
  for (const [index, route] of http.entries()) {
    if (!forGateway) at.within(['http', index], () => checkClaims(route, at));
  }
  for (const [index, { match = [] }] of tls.entries()) {
    for (const [position, { sniHosts = [] }] of match.entries()) {
      at.within(['tls', index, 'match', position, 'sniHosts'], () => checkSniHosts(sniHosts, hosts, at));
    }
  }
  warnUnreachable(http, at);
}

/** An object without hosts gives its HTTP rules to others. */
function checkDelegate(spec: VirtualService, at: Checker): void {
  for (const field of ['gateways', 'tls', 'tcp'] as const) {
    if ((spec[field] ?? []).length > 0) {
      at.error('mutually_exclusive', `an object without hosts is a delegate: it must not have ${field}`, [
        field,
      ]);
    }
  }
  for (const [index, route] of (spec.http ?? []).entries()) {
    if (route.delegate !== undefined) {
      at.error('invalid_reference', 'a delegate cannot delegate further', ['http', index, 'delegate']);
    }
  }
}

/** Claims of tokens are known at gateways only. */
function checkClaims(route: HTTPRoute, at: Checker): void {
  for (const [index, match] of (route.match ?? []).entries()) {
    for (const field of ['headers', 'withoutHeaders'] as const) {
      for (const name of Object.keys(match[field] ?? {})) {
        if (name.startsWith(claimHeaderPrefix)) {
          at.error('conflict', 'routing by claims of a token is only supported for gateways', [
            'match',
            index,
            field,
            name,
          ]);
        }
      }
    }
  }
}
