/** `envoy.config.rbac.v3.Principal` compiled: who asks. */
import type { Principal, Principal_Authenticated } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { compileStringMatcher, type StringPredicate } from '../../http/string_matcher.ts';
import type { TlsInfo } from '../../network/connection.ts';
import { compileCidrRule, connectionRemoteOf, directRemoteOf, remoteOf } from './address_rules.ts';
import {
  compileFilterStateRule,
  compileHeaderRule,
  compileMetadataRule,
  compilePathRule,
  compileSourcedMetadataRule,
} from './shared_rules.ts';
import { allOf, anyOf, compileAt, notOf, type RbacMatcher } from './subject.ts';

/** One of the names in a certificate: URI SANs, then DNS SANs, then the subject. */
function hasName(tls: TlsInfo, matches: StringPredicate): boolean {
  const { peerUriSans, peerDnsSans } = tls;
  for (let i = 0; i < peerUriSans.length; i++) if (matches(peerUriSans[i] as string)) return true;
  for (let i = 0; i < peerDnsSans.length; i++) if (matches(peerDnsSans[i] as string)) return true;
  return matches(tls.peerSubject);
}

/** Without a name: any peer that came with TLS; whether it needs a certificate says the TLS context. */
function authenticatedRule({ principalName }: Principal_Authenticated): RbacMatcher {
  if (principalName === undefined) return ({ connection }) => connection.tls !== undefined;
  const matches = compileStringMatcher(principalName);
  if (principalName.matchPattern.case !== 'safeRegex')
    return ({ connection: { tls } }) => tls?.peerCertificateValidated === true && hasName(tls, matches);
  // Names do not change while a connection lives: its requests share one run of the expression.
  const known = new WeakMap<TlsInfo, boolean>();
  return ({ connection: { tls } }) => {
    if (tls === undefined || !tls.peerCertificateValidated) return false;
    let found = known.get(tls);
    if (found === undefined) {
      found = hasName(tls, matches);
      known.set(tls, found);
    }
    return found;
  };
}

/**
 * @param where place of the principal, for errors
 * @throws RbacConfigError
 */
export function compilePrincipal(principal: Principal, where: string): RbacMatcher {
  return compileAt(where, () => compileIdentifier(principal.identifier, where));
}

function compileIdentifier(identifier: Principal['identifier'], where: string): RbacMatcher {
  switch (identifier.case) {
    case 'andIds':
    case 'orIds': {
      const name = identifier.case === 'andIds' ? 'and_ids' : 'or_ids';
      const each = identifier.value.ids.map((one, i) => compilePrincipal(one, `${where}.${name}[${i}]`));
      return identifier.case === 'andIds' ? allOf(each) : anyOf(each);
    }
    case 'notId':
      return notOf(compilePrincipal(identifier.value, `${where}.not_id`));
    case 'any':
      return () => true;
    case 'authenticated':
      return authenticatedRule(identifier.value);
    case 'sourceIp':
      return compileCidrRule(identifier.value, connectionRemoteOf);
    case 'directRemoteIp':
      return compileCidrRule(identifier.value, directRemoteOf);
    case 'remoteIp':
      return compileCidrRule(identifier.value, remoteOf);
    case 'header':
      return compileHeaderRule(identifier.value);
    case 'urlPath':
      return compilePathRule(identifier.value);
    case 'metadata':
      return compileMetadataRule(identifier.value);
    case 'sourcedMetadata':
      return compileSourcedMetadataRule(identifier.value);
    case 'filterState':
      return compileFilterStateRule(identifier.value);
    case 'custom':
      throw new Error(`custom principal ${identifier.value.name} is not supported`);
    default:
      throw new Error('principal without identifier');
  }
}
