/** Validation of ServiceEntry: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import { exportTo, isAddress, isCidr, isFqdn, isWildcardDomain, port } from '../../schema/names.ts';
import { type Schema, list, object, oneOf, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { portName, protocol } from '../gateway/validate.ts';
import { sidecarWorkloadSelector } from '../sidecar/validate.ts';
import type { ServiceEntry, ServicePort } from './types.ts';
import { workloadEntry } from './workload_entry.ts';

/** `spec` of a ServiceEntry. */
export const serviceEntrySpec: Schema<ServiceEntry> = object<ServiceEntry>(
  {
    hosts: list(
      string({
        expected: 'a DNS name, possibly with a wildcard in front',
        code: 'invalid_host',
        test: (host) => host !== '*' && isWildcardDomain(host),
      }),
      { min: 1, max: 256 },
    ),
    addresses: list(
      string({
        expected: 'an address or network such as "10.0.0.0/8"',
        code: 'invalid_address',
        test: isCidr,
      }),
      { max: 256 },
    ),
    ports: list(
      object<ServicePort>(
        { number: port, protocol, name: portName, targetPort: port },
        { required: ['number', 'name'] },
      ),
      { max: 256, rule: checkPorts },
    ),
    location: oneOf('MESH_EXTERNAL', 'MESH_INTERNAL'),
    resolution: oneOf('NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'),
    endpoints: list(workloadEntry, { max: 4096 }),
    workloadSelector: sidecarWorkloadSelector,
    exportTo: list(string(), { rule: exportTo }),
    subjectAltNames: list(string({ minLength: 1 })),
  },
  { required: ['hosts'], rule: checkSpec },
);

/** Body of a ServiceEntry. */
export const serviceEntryBody = specBody(serviceEntrySpec);

function checkPorts(ports: readonly ServicePort[], at: Checker): void {
  for (const field of ['number', 'name'] as const) {
    const seen = new Set<unknown>();
    for (const [index, entry] of ports.entries()) {
      if (seen.has(entry[field]))
        at.error('duplicate', `service entry port ${String(entry[field])} already defined`, [index, field]);
      seen.add(entry[field]);
    }
  }
}

function checkSpec(spec: ServiceEntry, at: Checker): void {
  const { resolution = 'NONE', endpoints = [], addresses = [], hosts = [] } = spec;
  if (spec.workloadSelector !== undefined && spec.endpoints !== undefined) {
    at.error('mutually_exclusive', 'only one of workloadSelector and endpoints can be set', ['endpoints']);
  }
  if (resolution !== 'NONE' && resolution !== 'STATIC') {
    for (const [index, address] of addresses.entries()) {
      if (address.includes('/')) {
        at.error('conflict', 'CIDR addresses are allowed only for NONE/STATIC resolution types', [
          'addresses',
          index,
        ]);
      }
    }
  }
  checkEndpoints(spec, at);
  const byDns = resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN';
  if (byDns && endpoints.length === 0 && spec.workloadSelector === undefined) {
    for (const [index, host] of hosts.entries()) {
      if (!isFqdn(host)) {
        at.mismatch(
          'invalid_host',
          `a DNS name without wildcard for resolution ${resolution} without endpoints`,
          host,
          ['hosts', index],
        );
      }
    }
  }
  warnOf(spec, at);
}

function checkEndpoints(
  { resolution = 'NONE', endpoints = [], ports = [] }: ServiceEntry,
  at: Checker,
): void {
  if ((resolution === 'NONE' || resolution === 'DYNAMIC_DNS') && endpoints.length > 0) {
    at.error('conflict', `no endpoints should be provided for resolution type ${resolution}`, ['endpoints']);
  }
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1) {
    at.error('conflict', 'there must only be 0 or 1 endpoint for resolution mode DNS_ROUND_ROBIN', [
      'endpoints',
      1,
    ]);
  }
  for (const [index, endpoint] of endpoints.entries()) {
    const { address = '' } = endpoint;
    if (address.startsWith('unix://') && resolution !== 'STATIC') {
      at.error('conflict', 'a Unix socket needs resolution STATIC', ['endpoints', index, 'address']);
    }
    if (resolution === 'STATIC' && address !== '' && !address.startsWith('unix://') && !isAddress(address)) {
      at.mismatch('invalid_address', 'an address, as the resolution is STATIC', address, [
        'endpoints',
        index,
        'address',
      ]);
    }
    for (const name of Object.keys(endpoint.ports ?? {})) {
      if (!ports.some((entry) => entry.name === name)) {
        at.error('invalid_reference', `endpoint port ${name} is not defined by the service entry`, [
          'endpoints',
          index,
          'ports',
          name,
        ]);
      }
    }
  }
}

function warnOf(
  { workloadSelector, resolution = 'NONE', ports = [], addresses = [] }: ServiceEntry,
  at: Checker,
): void {
  if (workloadSelector !== undefined && resolution === 'NONE') {
    at.warn('no_effect', 'workloadSelector should not be set when resolution mode is NONE', [
      'workloadSelector',
    ]);
  }
  for (const [index, entry] of ports.entries()) {
    const isTcp = ['', 'TCP', 'MONGO', 'MYSQL', 'REDIS', 'UDP'].includes(
      (entry.protocol ?? '').toUpperCase(),
    );
    if (addresses.length === 0 && isTcp) {
      at.warn(
        'no_effect',
        'addresses are required for ports serving TCP (or unset) protocol when addresses are not allocated automatically',
        ['ports', index],
      );
    }
  }
}
