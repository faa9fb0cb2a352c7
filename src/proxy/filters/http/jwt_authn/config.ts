/** Extension `envoy.filters.http.jwt_authn`. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  JwtAuthenticationSchema,
  PerRouteConfigSchema,
  type RequirementRule,
} from '#api/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { compileRouteMatch } from '../../../router/route_match.ts';
import { JwtAuthnFilter, type JwtRouteConfig, type JwtShared } from './jwt_authn.ts';
import { keySourceOf } from './key_source.ts';
import { jwtAuthnName, Provider } from './provider.ts';
import { compileRequirement, type Verifier } from './verifier.ts';

/** @throws the error with its place. */
function at<T>(place: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new Error(`${place}: ${(error as Error).message}`, { cause: error });
  }
}

export const jwtAuthn = {
  name: jwtAuthnName,
  typeUrls: [typeUrlOf(JwtAuthenticationSchema), typeUrlOf(PerRouteConfigSchema)],
  create(config, context, filterName) {
    const proto = fromBinary(JwtAuthenticationSchema, config.value);
    const labels = {
      envoy_http_conn_manager_prefix: context.statPrefix ?? '',
      ...(proto.statPrefix === '' ? {} : { envoy_jwt_authn_prefix: proto.statPrefix }),
    };
    const counter = (name: string): JwtShared['stats']['allowed'] =>
      context.metrics.counter(`envoy_http_jwt_authn_${name}`, labels);
    const keyStats = {
      fetchSuccess: counter('jwks_fetch_success'),
      fetchFailed: counter('jwks_fetch_failed'),
    };
    const providers = new Map<string, Provider>();
    try {
      for (const [name, provider] of Object.entries(proto.providers))
        at(`providers[${name}]`, () => {
          const keys = keySourceOf(provider, context.clusterManager, keyStats);
          providers.set(name, new Provider(name, provider, keys));
        });
      const requirements = new Map<string, Verifier | undefined>();
      for (const [name, requirement] of Object.entries(proto.requirementMap))
        requirements.set(
          name,
          at(`requirement_map[${name}]`, () => compileRequirement(requirement, providers)),
        );
      const verifierOf = ({ requirementType: type }: RequirementRule): Verifier | undefined => {
        if (type.case === 'requires') return compileRequirement(type.value, providers);
        if (type.case === undefined) return undefined;
        if (!requirements.has(type.value))
          throw new Error(`requirement_name ${JSON.stringify(type.value)} is not in requirement_map`);
        return requirements.get(type.value);
      };
      const { filterStateRules } = proto;
      const shared: JwtShared = {
        filterName,
        rules: proto.rules.map((rule, i) =>
          at(`rules[${i}]`, () => {
            if (rule.match === undefined) throw new Error('match is missing');
            return { matches: compileRouteMatch(rule.match).matches, verifier: verifierOf(rule) };
          }),
        ),
        requirements,
        filterState: filterStateRules && {
          name: filterStateRules.name,
          requirements: new Map(
            Object.entries(filterStateRules.requires).map(([value, requirement]) => [
              value,
              at(`filter_state_rules.requires[${value}]`, () => compileRequirement(requirement, providers)),
            ]),
          ),
        },
        bypassCorsPreflight: proto.bypassCorsPreflight,
        stripFailureResponse: proto.stripFailureResponse,
        ownHeaders: [...providers.values()].flatMap(({ ownHeaders }) => ownHeaders),
        stats: {
          allowed: counter('allowed'),
          denied: counter('denied'),
          corsPreflightBypassed: counter('cors_preflight_bypassed'),
        },
        random: () => context.random(),
      };
      return {
        createFilter: (callbacks) => new JwtAuthnFilter(callbacks, shared),
        close() {
          for (const { keys } of providers.values()) keys.close();
        },
      };
    } catch (error) {
      for (const { keys } of providers.values()) keys.close();
      throw error;
    }
  },
  createRouteConfig(config): JwtRouteConfig {
    const { requirementSpecifier: own } = fromBinary(PerRouteConfigSchema, config.value);
    if (own.case === 'requirementName') return { requirementName: own.value };
    if (own.case === 'disabled' && own.value) return { disabled: true };
    throw new Error('one of disabled and requirement_name is needed');
  },
} as const satisfies HttpFilterExtension;
