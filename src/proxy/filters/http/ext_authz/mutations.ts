/** What a verdict changes in requests and responses. */
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import type { Allowed, Denied, Pair, ResponseChanges } from './verdict.ts';

const token = /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// eslint-disable-next-line no-control-regex -- RFC 9110 5.5: these are what a value may not hold.
const badValue = /[\u0000-\u0008\u000a-\u001f\u007f]/;

function validPairs(pairs: readonly Pair[]): boolean {
  return pairs.every(([name, value]) => token.test(name) && !badValue.test(value));
}

/** False when a name or value could not be a header: it would break the request or smuggle another. */
export function validChanges(verdict: Allowed | Denied): boolean {
  if (verdict.kind === 'denied') return validPairs(verdict.set) && validPairs(verdict.append);
  const { response } = verdict;
  return (
    [
      verdict.set,
      verdict.add,
      verdict.append,
      response.add,
      response.set,
      response.addIfAbsent,
      response.overwriteIfExists,
    ].every(validPairs) && verdict.remove.every((name) => token.test(name))
  );
}

/** True when something was asked for. Pseudo headers and the host cannot be removed. */
export function changeRequest(headers: RequestHeaderMap, { set, add, append, remove }: Allowed): boolean {
  for (const [name, value] of set) headers.set(name === 'host' ? ':authority' : name, value);
  for (const [name, value] of add) headers.add(name, value);
  for (const [name, value] of append) {
    // Only a header that is there is appended to.
    if (headers.has(name)) headers.set(name, `${headers.get(name) ?? ''},${value}`);
  }
  for (const name of remove) if (!name.startsWith(':') && name !== 'host') headers.remove(name);
  return set.length + add.length + append.length + remove.length > 0;
}

/** What would end the request line or the query is encoded; the rest goes as the service gave it. */
function escapeQuery(text: string): string {
  return text.replace(/[^\u0021-\u007e]|[#&]/gu, encodeURIComponent);
}

/** `query_parameters_to_set` and `_to_remove`. */
export function changeQuery(headers: RequestHeaderMap, { querySet, queryRemove }: Allowed): void {
  if (querySet.length === 0 && queryRemove.length === 0) return;
  const question = headers.path.indexOf('?');
  const path = question < 0 ? headers.path : headers.path.slice(0, question);
  const gone = new Set([...querySet.map(([name]) => name), ...queryRemove]);
  const pairs = (question < 0 ? [] : headers.path.slice(question + 1).split('&')).flatMap((pair): Pair[] => {
    if (pair === '') return [];
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair : pair.slice(0, equals);
    return gone.has(name) ? [] : [[name, equals < 0 ? '' : pair.slice(equals + 1)]];
  });
  for (const [name, value] of querySet) pairs.push([escapeQuery(name), escapeQuery(value)]);
  // By name, as Envoy writes parameters anew.
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  headers.path =
    pairs.length === 0 ? path : `${path}?${pairs.map(([name, value]) => `${name}=${value}`).join('&')}`;
}

export function changeResponse(headers: ResponseHeaderMap, changes: ResponseChanges): void {
  for (const [name, value] of changes.add) headers.add(name, value);
  for (const [name, value] of changes.set) headers.set(name, value);
  for (const [name, value] of changes.addIfAbsent) if (!headers.has(name)) headers.add(name, value);
  for (const [name, value] of changes.overwriteIfExists) if (headers.has(name)) headers.set(name, value);
}
