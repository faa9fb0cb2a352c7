/** Validation of PeerAuthentication: the rules of Istio's webhook. */
import type { Checker } from '../../schema/checker.ts';
import { type Schema, map, object, oneOf } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { workloadSelector } from '../selector_schema.ts';
import type { MutualTLS, PeerAuthentication } from './types.ts';

const mutualTls = object<MutualTLS>({ mode: oneOf('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT') });

function checkPort(key: string, at: Checker): void {
  const valid = /^\d{1,5}$/.test(key) && Number(key) >= 1 && Number(key) <= 65_535;
  if (!valid) at.mismatch('invalid_port', 'a port from 1 to 65535 as key', key);
}

/** `spec` of a PeerAuthentication. */
export const peerAuthenticationSpec: Schema<PeerAuthentication> = object<PeerAuthentication>(
  { selector: workloadSelector, mtls: mutualTls, portLevelMtls: map(mutualTls, { key: checkPort }) },
  {
    rule(spec, at) {
      if (spec.portLevelMtls === undefined) return;
      if (Object.keys(spec.portLevelMtls).length === 0) {
        at.error('missing_field', 'port level mTLS, if defined, must have at least one port', [
          'portLevelMtls',
        ]);
      } else if (Object.keys(spec.selector?.matchLabels ?? {}).length === 0) {
        at.error(
          'conflict',
          'mesh/namespace peer authentication cannot have port level mTLS: it needs a selector',
          ['portLevelMtls'],
        );
      }
    },
  },
);

/** Body of a PeerAuthentication. */
export const peerAuthenticationBody = specBody(peerAuthenticationSpec);
