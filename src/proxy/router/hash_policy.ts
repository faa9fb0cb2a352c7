/** `envoy.config.route.v3.RouteAction.HashPolicy`: the hash that consistent balancers place a request by. */
import xxhash from 'xxhash-wasm';
import type {
  RouteAction_HashPolicy,
  RouteAction_HashPolicy_Cookie,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { HeaderMap, RequestHeaderMap } from '../http/header_map.ts';
import { cookieSuffix } from '../http/set_cookie.ts';
import { compileSubstitution } from '../http/regex.ts';
import { durationMs } from '../network/duration.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import { cookieValue, queryParameter } from './route_match.ts';

const { h64 } = await xxhash();

/** A hash and, when a cookie was made for it, what the response must set. */
export interface HashResult {
  readonly hash: bigint | undefined;
  readonly setCookie: string | undefined;
}

export type HashPolicy = (headers: RequestHeaderMap, info: StreamInfo) => HashResult;

type Part = (
  headers: RequestHeaderMap,
  info: StreamInfo,
  out: { setCookie: string | undefined },
) => bigint | undefined;

function hashValues(
  headers: HeaderMap,
  name: string,
  rewrite: ((text: string) => string) | undefined,
): bigint | undefined {
  if (name === ':authority' || name.startsWith(':')) {
    const value = headers.get(name);
    return value === undefined ? undefined : h64(rewrite === undefined ? value : rewrite(value));
  }
  const values = headers.getAll(name);
  if (values.length === 0) return undefined;
  // The order of repeated headers must not matter.
  const texts = (rewrite === undefined ? values : values.map(rewrite)).toSorted();
  // Each value is hashed with the hash before it as seed.
  return texts.reduce((seed, text) => h64(text, seed), 0n);
}

function cookiePart(config: RouteAction_HashPolicy_Cookie): Part {
  const { name, path } = config;
  const ttl = durationMs(config.ttl);
  const suffix = cookieSuffix(ttl ?? 0, path, config.attributes);
  return (headers, info, out) => {
    const value = cookieValue(headers, name);
    if (value !== undefined) return h64(value);
    if (ttl === undefined) return undefined;
    const { localAddress, remoteAddress } = info.connection;
    const seed = `${remoteAddress.ip}${remoteAddress.port}${localAddress.ip}${localAddress.port}`;
    const made = h64(seed).toString(16);
    out.setCookie = `${name}="${made}"${suffix}`;
    return h64(made);
  };
}

function compilePart(policy: RouteAction_HashPolicy): Part {
  const { policySpecifier: specifier } = policy;
  switch (specifier.case) {
    case 'header': {
      const name = specifier.value.headerName.toLowerCase();
      const rewrite =
        specifier.value.regexRewrite === undefined
          ? undefined
          : compileSubstitution(specifier.value.regexRewrite);
      return (headers) => hashValues(headers, name, rewrite);
    }
    case 'cookie':
      return cookiePart(specifier.value);
    case 'connectionProperties':
      return specifier.value.sourceIp ? (_headers, info) => h64(info.remoteAddress.ip) : () => undefined;
    case 'queryParameter': {
      const { name } = specifier.value;
      return ({ path }) => {
        const value = queryParameter(path, name);
        return value === undefined ? undefined : h64(value);
      };
    }
    case 'filterState': {
      const { key } = specifier.value;
      return (_headers, info) => {
        const value = info.filterState?.get(key);
        return typeof value === 'string' ? h64(value) : undefined;
      };
    }
    default:
      throw new Error('hash policy without a specifier');
  }
}

const noHash: HashResult = { hash: undefined, setCookie: undefined };

/** Hashes of several policies are combined; one that is `terminal` ends the list once there is a hash. */
export function compileHashPolicies(policies: readonly RouteAction_HashPolicy[]): HashPolicy | undefined {
  if (policies.length === 0) return undefined;
  const parts = policies.map((policy) => ({ part: compilePart(policy), terminal: policy.terminal }));
  return (headers, info) => {
    const out: { setCookie: string | undefined } = { setCookie: undefined };
    let hash: bigint | undefined;
    for (const { part, terminal } of parts) {
      const next = part(headers, info, out);
      if (next !== undefined) {
        // Rotate left by one, so that equal hashes of two policies do not cancel out.
        const rotated = hash === undefined ? 0n : ((hash << 1n) | (hash >> 63n)) & 0xffff_ffff_ffff_ffffn;
        hash = rotated ^ next;
      }
      if (terminal && hash !== undefined) break;
    }
    return hash === undefined ? noHash : { hash, setCookie: out.setCookie };
  };
}
