/** Values of policies (`exact`, `prefix*`, `*suffix`, `*`) as matchers of Envoy's RBAC. */
import { create } from '@bufbuild/protobuf';
import {
  type Permission,
  PermissionSchema,
  type Principal,
  PrincipalSchema,
} from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import {
  type HeaderMatcher,
  HeaderMatcherSchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { UriTemplateMatchConfigSchema } from '#api/gen/envoy/extensions/path/match/uri_template/v3/uri_template_match_pb.ts';
import { type MetadataMatcher, MetadataMatcherSchema } from '#api/gen/envoy/type/matcher/v3/metadata_pb.ts';
import type { StringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { type ValueMatcher, ValueMatcherSchema } from '#api/gen/envoy/type/matcher/v3/value_pb.ts';
import { any, exactMatch, prefixMatch, quoteRegex, regexMatch, suffixMatch } from '../wire.ts';

const anyText = '.+';

/** A matcher for a value; `*` asks for any text but the empty one. */
export function valueMatcher(value: string): StringMatcher {
  if (value === '*') return regexMatch(anyText);
  if (value.startsWith('*')) return suffixMatch(value.slice(1));
  if (value.endsWith('*')) return prefixMatch(value.slice(0, -1));
  return exactMatch(value);
}

/** A matcher for a header; `*` asks for presence. */
export function rbacHeader(name: string, value: string, ignoreCase = false): HeaderMatcher {
  if (value === '*') {
    return create(HeaderMatcherSchema, { name, headerMatchSpecifier: { case: 'presentMatch', value: true } });
  }
  const matcher = valueMatcher(value);
  matcher.ignoreCase = ignoreCase;
  return create(HeaderMatcherSchema, { name, headerMatchSpecifier: { case: 'stringMatch', value: matcher } });
}

/** A peer whose certificate carries the name. */
function authenticated(principalName: StringMatcher): Principal {
  return create(PrincipalSchema, { identifier: { case: 'authenticated', value: { principalName } } });
}

const spiffe = 'spiffe://';

/** `td/ns/NAMESPACE/sa/ACCOUNT`. */
export function principalByName(value: string): Principal {
  if (value === '*') return authenticated(regexMatch(anyText));
  // A suffix cannot simply be a suffix: the scheme in front of the name must be there too.
  if (value.startsWith('*')) return authenticated(regexMatch(`${spiffe}.*${quoteRegex(value.slice(1))}`));
  if (value.endsWith('*')) return authenticated(prefixMatch(spiffe + value.slice(0, -1)));
  return authenticated(exactMatch(spiffe + value));
}

/** Replaces `*` by a regular expression, quoting the rest. */
function wildcardRegex(value: string, star: string): string {
  return value.split('*').map(quoteRegex).join(star);
}

/** A namespace. */
export function principalByNamespace(value: string): Principal {
  return authenticated(regexMatch(`.*/ns/${wildcardRegex(value, '.*')}/.*`));
}

/** `namespace/name`, or a name in the namespace of the policy. */
export function principalByServiceAccount(value: string, policyNamespace: string): Principal {
  const slash = value.indexOf('/');
  const namespace = slash < 0 ? policyNamespace : value.slice(0, slash);
  const account = value.slice(slash + 1);
  return authenticated(
    regexMatch(`${spiffe}.+/ns/${quoteRegex(namespace)}/(.+/|)sa/${quoteRegex(account)}(/.+)?`),
  );
}

/** A trust domain. */
export function principalByTrustDomain(value: string): Principal {
  if (!value.includes('*')) return authenticated(prefixMatch(`${spiffe}${value}/`));
  return authenticated(regexMatch(`${spiffe}${wildcardRegex(value, '[^/]*')}/.*`));
}

/** A value inside dynamic metadata. */
export function metadataMatcher(
  filter: string,
  path: readonly string[],
  value: ValueMatcher,
): MetadataMatcher {
  return create(MetadataMatcherSchema, {
    filter,
    path: path.map((key) => ({ segment: { case: 'key' as const, value: key } })),
    value,
  });
}

function stringValue(matcher: StringMatcher): ValueMatcher {
  return create(ValueMatcherSchema, { matchPattern: { case: 'stringMatch', value: matcher } });
}

function oneOfValues(matchers: readonly ValueMatcher[]): ValueMatcher {
  const [only] = matchers;
  if (matchers.length === 1 && only !== undefined) return only;
  return create(ValueMatcherSchema, {
    matchPattern: { case: 'orMatch', value: { valueMatchers: [...matchers] } },
  });
}

/** A text that is one of the values. */
export function textValue(values: readonly string[]): ValueMatcher {
  return oneOfValues(values.map((value) => stringValue(valueMatcher(value))));
}

/** A text that is one of the values, or a list that holds one of them: claims may be either. */
export function textOrListValue(values: readonly string[]): ValueMatcher {
  const list = create(ValueMatcherSchema, {
    matchPattern: {
      case: 'listMatch',
      value: { matchPattern: { case: 'oneOf', value: textValue(values) } },
    },
  });
  return oneOfValues([list, textValue(values)]);
}

const jwtFilter = 'envoy.filters.http.jwt_authn';

/** A claim of the token, by its path. */
export function claimMatcher(path: readonly string[], value: ValueMatcher): MetadataMatcher {
  return metadataMatcher(jwtFilter, ['payload', ...path], value);
}

/** Issuer and subject that `issuer/subject` stands for, with a wildcard at one end. */
function issuerAndSubject(value: string): [StringMatcher, StringMatcher] {
  const present = regexMatch(anyText);
  if (value === '*') return [present, present];
  const slash = value.lastIndexOf('/');
  const issuer = slash < 0 ? '' : value.slice(0, slash);
  const subject = value.slice(slash + 1);
  // The slashes of `https://` part no subject from an issuer.
  const split = slash >= 0 && !issuer.endsWith('/');
  if (value.startsWith('*')) {
    if (!split) return [present, suffixMatch(value.slice(1))];
    return [issuer === '*' ? present : suffixMatch(issuer.slice(1)), exactMatch(subject)];
  }
  if (value.endsWith('*')) {
    if (!split) return [prefixMatch(value.slice(0, -1)), present];
    return [exactMatch(issuer), subject === '*' ? present : prefixMatch(subject.slice(0, -1))];
  }
  return split ? [exactMatch(issuer), exactMatch(subject)] : [exactMatch(value), exactMatch('')];
}

/** `issuer/subject` of the token. */
export function requestPrincipal(value: string): Principal {
  const [issuer, subject] = issuerAndSubject(value);
  return create(PrincipalSchema, {
    identifier: {
      case: 'andIds',
      value: {
        ids: [
          { identifier: { case: 'metadata', value: claimMatcher(['iss'], stringValue(issuer)) } },
          { identifier: { case: 'metadata', value: claimMatcher(['sub'], stringValue(subject)) } },
        ],
      },
    },
  });
}

/** A path, or a template of one (`/a/{*}/b`, `/{**}`). */
export function pathPermission(value: string): Permission {
  if (value.includes('{*}') || value.includes('{**}')) {
    const pathTemplate = value.replaceAll('{*}', '*').replaceAll('{**}', '**');
    return create(PermissionSchema, {
      rule: {
        case: 'uriTemplate',
        value: { name: 'uri-template', typedConfig: any(UriTemplateMatchConfigSchema, { pathTemplate }) },
      },
    });
  }
  return create(PermissionSchema, {
    rule: { case: 'urlPath', value: { rule: { case: 'path', value: valueMatcher(value) } } },
  });
}
