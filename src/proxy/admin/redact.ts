/** Takes secrets out of configuration that is shown. */
import type { JsonValue } from '@bufbuild/protobuf';

/** Fields whose whole value is secret (annotated `sensitive` in Envoy's API). */
const sensitive: ReadonlySet<string> = new Set([
  'private_key',
  'private_key_provider',
  'pkcs12',
  'password',
  'session_ticket_keys',
  'generic_secret',
  'token',
  'inline_secret',
]);

/** Headers that carry credentials towards collectors and the like. */
const secretHeaders = /^(?:authorization|cookie|x-api-key|api-key)$/i;

function blank(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(blank);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, blank(inner)]));
  return typeof value === 'string' ? '[redacted]' : value;
}

/** A copy in which the strings of sensitive fields are `[redacted]`. */
export function redact(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  const isHeader = typeof value['key'] === 'string' && secretHeaders.test(value['key']);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const secret = sensitive.has(key) || (isHeader && (key === 'value' || key === 'raw_value'));
      return [key, secret ? blank(inner) : redact(inner)];
    }),
  );
}
