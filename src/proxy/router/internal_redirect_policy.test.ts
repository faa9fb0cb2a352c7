import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { InternalRedirectPolicySchema } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import {
  type AllowListedRoutesConfig,
  AllowListedRoutesConfigSchema,
} from '#api/gen/envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config_pb.ts';
import { PreviousRoutesConfigSchema } from '#api/gen/envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config_pb.ts';
import { SafeCrossSchemeConfigSchema } from '#api/gen/envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config_pb.ts';
import {
  compileInternalRedirects,
  type RedirectPredicate,
  type RedirectTarget,
} from './internal_redirect_policy.ts';

function predicate(typedConfig: Any): RedirectPredicate {
  const policy = compileInternalRedirects(
    create(InternalRedirectPolicySchema, { predicates: [{ name: 'p', typedConfig }] }),
  );
  return policy!.predicates[0]!;
}

function target(more: Partial<RedirectTarget>): RedirectTarget {
  return { from: 'a', to: 'b', fromHttps: false, toHttps: false, visited: new Map(), ...more };
}

test('defaults, and codes that are redirects', () => {
  assert.equal(compileInternalRedirects(undefined), undefined);
  const plain = compileInternalRedirects(create(InternalRedirectPolicySchema, {}))!;
  assert.deepEqual([plain.maxRedirects, [...plain.codes], plain.allowCrossScheme], [1, [302], false]);
  const chosen = compileInternalRedirects(
    create(InternalRedirectPolicySchema, { maxInternalRedirects: 3, redirectResponseCodes: [307, 200] }),
  )!;
  assert.deepEqual([chosen.maxRedirects, [...chosen.codes]], [3, [307]]);
});

test('predicates', () => {
  const listed: AllowListedRoutesConfig = create(AllowListedRoutesConfigSchema, { allowedRouteNames: ['b'] });
  const allows = predicate(anyPack(AllowListedRoutesConfigSchema, listed));
  assert.deepEqual([allows(target({})), allows(target({ to: 'c' }))], [true, false]);
  const fresh = predicate(anyPack(PreviousRoutesConfigSchema, create(PreviousRoutesConfigSchema)));
  const visited = new Map<string, Set<string>>();
  assert.deepEqual([target({ visited }), target({ visited }), target({ visited, from: 'x' })].map(fresh), [
    true,
    false,
    true,
  ]);
  const safe = predicate(anyPack(SafeCrossSchemeConfigSchema, create(SafeCrossSchemeConfigSchema)));
  assert.deepEqual(
    [target({ toHttps: true }), target({ fromHttps: true, toHttps: true }), target({ fromHttps: true })].map(
      safe,
    ),
    [false, true, true],
  );
});

test('predicates that are not known are refused by name', () => {
  assert.throws(
    () => compileInternalRedirects(create(InternalRedirectPolicySchema, { predicates: [{ name: 'own' }] })),
    /predicate own is not supported/,
  );
});
