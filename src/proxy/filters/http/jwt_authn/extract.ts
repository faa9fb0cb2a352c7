/** Where a request carries its tokens (JwtProvider.from_headers, from_params, from_cookies). */
import type { JwtProvider } from '#api/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';

/** A place that may hold a token. */
export type Location =
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string }
  | { readonly kind: 'param'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string };

export interface FoundToken {
  readonly text: string;
  readonly location: Location;
}

/** Tokens of one request that are looked at. */
const maxTokens = 16;

/** Where a provider that names no place looks (RFC 6750 2.1, 2.3). */
const standard: readonly Location[] = [
  { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
  { kind: 'param', name: 'access_token' },
];

export function locationsOf(provider: JwtProvider): readonly Location[] {
  const named: Location[] = [
    ...provider.fromHeaders.map(({ name, valuePrefix }): Location => ({
      kind: 'header',
      name: name.toLowerCase(),
      prefix: valuePrefix,
    })),
    ...provider.fromParams.map((name): Location => ({ kind: 'param', name })),
    ...provider.fromCookies.map((name): Location => ({ kind: 'cookie', name })),
  ];
  return named.length > 0 ? named : standard;
}

function queryOf(path: string): string {
  const question = path.indexOf('?');
  return question < 0 ? '' : path.slice(question + 1);
}

/** The part of a value behind the prefix that can be a token. */
function afterPrefix(value: string, prefix: string): string | undefined {
  if (prefix === '') return value;
  const at = value.indexOf(prefix);
  if (at < 0) return undefined;
  return /[A-Za-z0-9_.-]+/.exec(value.slice(at + prefix.length))?.[0];
}

function cookieValue(headers: RequestHeaderMap, name: string): string | undefined {
  for (const header of headers.getAll('cookie')) {
    for (const pair of header.split(';')) {
      const equals = pair.indexOf('=');
      if (equals >= 0 && pair.slice(0, equals).trim() === name)
        return pair
          .slice(equals + 1)
          .trim()
          .replace(/^"(.*)"$/, '$1');
    }
  }
  return undefined;
}

function valueAt(headers: RequestHeaderMap, location: Location): string | undefined {
  switch (location.kind) {
    case 'header': {
      const value = headers.get(location.name);
      return value === undefined ? undefined : afterPrefix(value, location.prefix);
    }
    case 'param':
      return new URLSearchParams(queryOf(headers.path)).get(location.name) ?? undefined;
    case 'cookie':
      return cookieValue(headers, location.name);
  }
}

/** All tokens, in the order of the places. */
export function findTokens(headers: RequestHeaderMap, locations: readonly Location[]): FoundToken[] {
  const found: FoundToken[] = [];
  for (const location of locations) {
    const text = valueAt(headers, location);
    if (text !== undefined && text !== '') found.push({ text, location });
    if (found.length === maxTokens) break;
  }
  return found;
}

/** Takes the token away, so that the application does not see it. A cookie stays, as in Envoy. */
export function removeToken(headers: RequestHeaderMap, location: Location): void {
  if (location.kind === 'header') headers.remove(location.name);
  else if (location.kind === 'param') headers.path = withoutParameter(headers.path, location.name);
}

function withoutParameter(path: string, name: string): string {
  const question = path.indexOf('?');
  if (question < 0) return path;
  const kept = path
    .slice(question + 1)
    .split('&')
    .filter((pair) => {
      const equals = pair.indexOf('=');
      return (equals < 0 ? pair : pair.slice(0, equals)) !== name;
    });
  return kept.length === 0 ? path.slice(0, question) : `${path.slice(0, question)}?${kept.join('&')}`;
}
