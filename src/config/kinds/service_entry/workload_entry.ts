/** Endpoints of a ServiceEntry, with Istio's rules for WorkloadEntry. */
import type { Checker } from '../../schema/checker.ts';
import { isAddress, isDnsLabel, isFqdn, labels, port, uint32 } from '../../schema/names.ts';
import { type Schema, map, object, string } from '../../schema/schema.ts';
import { unixPath } from '../sidecar/validate.ts';
import type { WorkloadEntry } from './types.ts';

const portKey = (name: string, at: Checker): void => {
  if (!isDnsLabel(name)) at.mismatch('invalid_name', 'a port name such as "http"', name);
};

/** `WorkloadEntry`. */
export const workloadEntry: Schema<WorkloadEntry> = object<WorkloadEntry>(
  {
    address: string({
      expected: 'an address, a DNS name, unix:///PATH or unix://@NAME',
      code: 'invalid_address',
      maxLength: 256,
      test: (text) =>
        text === '' ||
        (text.startsWith('unix://') ? unixPath(text) !== undefined : isAddress(text) || isFqdn(text)),
    }),
    ports: map(port, { key: portKey }),
    labels,
    network: string({ maxLength: 2048 }),
    locality: string({ maxLength: 2048 }),
    weight: uint32,
    serviceAccount: string({ maxLength: 253 }),
  },
  {
    rule(entry, at) {
      const { address = '', network = '' } = entry;
      if (address === '' && network === '') at.error('missing_field', 'required: address', ['address']);
      else if (address === '')
        at.warn('no_effect', `address is unset with network "${network}"`, ['address']);
      if (address.startsWith('unix://') && Object.keys(entry.ports ?? {}).length > 0) {
        at.error('conflict', `unix endpoint ${address} must not include ports`, ['ports']);
      }
    },
  },
);
