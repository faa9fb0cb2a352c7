/** `envoy.config.route.v3.InternalRedirectPolicy`: which redirects of the upstream the proxy follows itself. */
import { fromBinary } from '@bufbuild/protobuf';
import type { TypedExtensionConfig } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import type { InternalRedirectPolicy as Proto } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { AllowListedRoutesConfigSchema } from '#api/gen/envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config_pb.ts';
import { PreviousRoutesConfigSchema } from '#api/gen/envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config_pb.ts';
import { SafeCrossSchemeConfigSchema } from '#api/gen/envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';

/** A redirect that may be followed. */
export interface RedirectTarget {
  /** Names of routes; empty for routes without one. */
  readonly from: string;
  readonly to: string;
  readonly fromHttps: boolean;
  readonly toHttps: boolean;
  /** Routes that redirects of one route have led to; kept for the request. */
  readonly visited: Map<string, Set<string>>;
}

export type RedirectPredicate = (target: RedirectTarget) => boolean;

export interface InternalRedirectPolicy {
  /** Redirects one request may take; default 1. */
  readonly maxRedirects: number;
  readonly codes: ReadonlySet<number>;
  readonly predicates: readonly RedirectPredicate[];
  readonly allowCrossScheme: boolean;
  /** Lower case: taken from the redirect to the next request. */
  readonly headersToCopy: readonly string[];
}

const knownCodes: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Longest list of routes that one request remembers. */
const maxVisited = 64;

function compilePredicate({ name, typedConfig }: TypedExtensionConfig): RedirectPredicate {
  const value = typedConfig?.value ?? new Uint8Array();
  switch (typedConfig?.typeUrl) {
    case typeUrlOf(AllowListedRoutesConfigSchema): {
      const names = new Set(fromBinary(AllowListedRoutesConfigSchema, value).allowedRouteNames);
      return ({ to }) => names.has(to);
    }
    case typeUrlOf(PreviousRoutesConfigSchema):
      return ({ from, to, visited }) => {
        const routes = visited.get(from) ?? new Set();
        if (routes.has(to) || routes.size >= maxVisited) return false;
        visited.set(from, routes.add(to));
        return true;
      };
    case typeUrlOf(SafeCrossSchemeConfigSchema):
      return ({ fromHttps, toHttps }) => fromHttps || !toHttps;
    default:
      throw new Error(`internal_redirect_policy: predicate ${name} is not supported`);
  }
}

/** @throws Error for a predicate that is not known. */
export function compileInternalRedirects(proto: Proto | undefined): InternalRedirectPolicy | undefined {
  if (proto === undefined) return undefined;
  const codes = proto.redirectResponseCodes.filter((code) => knownCodes.has(code));
  return {
    maxRedirects: proto.maxInternalRedirects ?? 1,
    codes: new Set(codes.length === 0 ? [302] : codes),
    predicates: proto.predicates.map(compilePredicate),
    allowCrossScheme: proto.allowCrossSchemeRedirect,
    headersToCopy: proto.responseHeadersToCopy.map((name) => name.toLowerCase()),
  };
}
