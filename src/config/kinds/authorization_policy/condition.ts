/** Attributes that conditions may name. */
import type { Checker } from '../../schema/checker.ts';
import { isCidr } from '../../schema/names.ts';
import type { Condition } from './types.ts';

/** Plain attributes, and what their values must be. */
const attributes: Readonly<Record<string, 'text' | 'address' | 'port'>> = {
  'source.ip': 'address',
  'remote.ip': 'address',
  'source.namespace': 'text',
  'source.principal': 'text',
  'source.serviceAccount': 'text',
  'source.trustDomain': 'text',
  'request.auth.principal': 'text',
  'request.auth.audiences': 'text',
  'request.auth.presenter': 'text',
  'destination.ip': 'address',
  'destination.port': 'port',
  'connection.sni': 'text',
};

/** Attributes with one or more keys in brackets. */
const keyed = /^(?:request\.headers|request\.auth\.claims)(?:\[[^[\]]+\])+$/;

/** Checks key and values of a condition. */
export function checkCondition(condition: Condition, at: Checker): void {
  const { key = '', values = [], notValues = [] } = condition;
  if (values.length + notValues.length === 0) {
    at.error('missing_field', 'at least one of values or notValues must be set', ['values']);
  }
  const type = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
  if (type === undefined) {
    if (!keyed.test(key) && !/^experimental\.envoy\.filters\.[\w.]+(?:\[[^[\]]+\])*$/.test(key)) {
      const form = /^(request\.headers|request\.auth\.claims)/.exec(key)?.[1];
      const expected =
        form === undefined
          ? `an attribute: one of ${[...Object.keys(attributes), 'request.headers[name]', 'request.auth.claims[name]'].join(', ')}`
          : `${form}[name]`;
      at.mismatch('unknown_value', expected, key, ['key']);
    }
    return;
  }
  for (const [field, list] of [
    ['values', values],
    ['notValues', notValues],
  ] as const) {
    for (const [index, value] of list.entries()) {
      if (type === 'address' && !isCidr(value)) {
        at.mismatch('invalid_address', 'an address or network such as "10.0.0.0/8"', value, [field, index]);
      } else if (
        type === 'port' &&
        !(/^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535)
      ) {
        at.mismatch('invalid_port', 'a port from 1 to 65535, as a string', value, [field, index]);
      }
    }
  }
}
