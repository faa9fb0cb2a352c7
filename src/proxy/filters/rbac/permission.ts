/** `envoy.config.rbac.v3.Permission` compiled: what may be asked for. */
import { fromBinary } from '@bufbuild/protobuf';
import type { TypedExtensionConfig } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import type { Permission } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { UriTemplateMatchConfigSchema } from '#api/gen/envoy/extensions/path/match/uri_template/v3/uri_template_match_pb.ts';
import { compileStringMatcher } from '../../http/string_matcher.ts';
import { compileCidrRule, destinationOf } from './address_rules.ts';
import {
  barePath,
  compileHeaderRule,
  compileMetadataRule,
  compilePathRule,
  compileSourcedMetadataRule,
} from './shared_rules.ts';
import { allOf, anyOf, compileAt, notOf, type RbacMatcher } from './subject.ts';
import { compileUriTemplate } from './uri_template.ts';

const uriTemplateType = `type.googleapis.com/${UriTemplateMatchConfigSchema.typeName}`;

function uriTemplateRule({ name, typedConfig }: TypedExtensionConfig): RbacMatcher {
  if (typedConfig?.typeUrl !== uriTemplateType)
    throw new Error(`${name} (${typedConfig?.typeUrl ?? 'without typed_config'}) is not supported`);
  const { pathTemplate } = fromBinary(UriTemplateMatchConfigSchema, typedConfig.value);
  const matches = compileUriTemplate(pathTemplate);
  return ({ path }) => path !== undefined && matches(barePath(path));
}

/**
 * @param where place of the permission, for errors
 * @throws RbacConfigError
 */
export function compilePermission(permission: Permission, where: string): RbacMatcher {
  return compileAt(where, () => compileRule(permission.rule, where));
}

function compileRule(rule: Permission['rule'], where: string): RbacMatcher {
  switch (rule.case) {
    case 'andRules':
    case 'orRules': {
      const name = rule.case === 'andRules' ? 'and_rules' : 'or_rules';
      const each = rule.value.rules.map((one, i) => compilePermission(one, `${where}.${name}[${i}]`));
      return rule.case === 'andRules' ? allOf(each) : anyOf(each);
    }
    case 'notRule':
      return notOf(compilePermission(rule.value, `${where}.not_rule`));
    case 'any':
      return () => true;
    case 'header':
      return compileHeaderRule(rule.value);
    case 'urlPath':
      return compilePathRule(rule.value);
    case 'uriTemplate':
      return uriTemplateRule(rule.value);
    case 'destinationIp':
      return compileCidrRule(rule.value, destinationOf);
    case 'destinationPort': {
      const port = rule.value;
      return (subject) => destinationOf(subject).port === port;
    }
    case 'destinationPortRange': {
      const { start, end } = rule.value;
      return (subject) => {
        const { port } = destinationOf(subject);
        return port >= start && port < end;
      };
    }
    case 'requestedServerName': {
      const matches = compileStringMatcher(rule.value);
      return ({ connection }) => matches(connection.requestedServerName);
    }
    case 'metadata':
      return compileMetadataRule(rule.value);
    case 'sourcedMetadata':
      return compileSourcedMetadataRule(rule.value);
    case 'matcher':
      throw new Error(`matcher ${rule.value.name} is not supported`);
    default:
      throw new Error('permission without rule');
  }
}
