import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  type PermissionSchema,
  type PrincipalSchema,
  MetadataSource,
  RBAC_Action,
  RBACSchema,
} from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { UriTemplateMatchConfigSchema } from '#api/gen/envoy/extensions/path/match/uri_template/v3/uri_template_match_pb.ts';
import { RequestHeaderMap } from '../../http/header_map.ts';
import type { FilterRoute } from '../../http/filter.ts';
import type { TlsInfo } from '../../network/connection.ts';
import { AcceptedConnectionInfo } from '../../network/connection_info.ts';
import { StreamInfo } from '../../stream_info/stream_info.ts';
import { denialDetails, RbacEngine } from './engine.ts';
import type { RbacSubject } from './subject.ts';

type PermissionInit = MessageInitShape<typeof PermissionSchema>;
type PrincipalInit = MessageInitShape<typeof PrincipalSchema>;

const anyone: PrincipalInit = { identifier: { case: 'any', value: true } };
const anything: PermissionInit = { rule: { case: 'any', value: true } };

function tls(values: Partial<TlsInfo>): TlsInfo {
  return {
    version: 'TLSv1.3',
    cipher: 'TLS_AES_128_GCM_SHA256',
    peerCertificateValidated: true,
    peerUriSans: [],
    peerDnsSans: [],
    peerSubject: '',
    localUriSans: [],
    localSubject: '',
    peerCertificateDer: undefined,
    ...values,
  };
}

function ask(change: (subject: RbacSubject & { streamInfo: StreamInfo }) => void = () => {}): RbacSubject {
  const connection = new AcceptedConnectionInfo(
    { ip: '10.0.0.1', port: 8080 },
    { ip: '10.1.0.7', port: 40000 },
  );
  const headers = new RequestHeaderMap();
  headers.method = 'GET';
  headers.path = '/';
  headers.authority = 'app.example';
  const streamInfo = new StreamInfo(connection, 'HTTP/1.1');
  const subject = { connection, headers, path: headers.path, streamInfo, callbacks: undefined };
  change(subject);
  return subject;
}

function engine(
  permission: PermissionInit,
  principal: PrincipalInit,
  action = RBAC_Action.ALLOW,
): RbacEngine {
  return new RbacEngine(
    create(RBACSchema, { action, policies: { p: { permissions: [permission], principals: [principal] } } }),
    'rules',
  );
}

const header = (name: string, exact: string): PermissionInit => ({
  rule: {
    case: 'header',
    value: {
      name,
      headerMatchSpecifier: {
        case: 'stringMatch',
        value: { matchPattern: { case: 'exact', value: exact } },
      },
    },
  },
});

const path = (pattern: 'exact' | 'prefix' | 'suffix', value: string): PermissionInit => ({
  rule: {
    case: 'urlPath',
    value: { rule: { case: 'path', value: { matchPattern: { case: pattern, value } } } },
  },
});

const template = (pathTemplate: string): PermissionInit => ({
  rule: {
    case: 'uriTemplate',
    value: {
      name: 'uri-template',
      typedConfig: anyPack(
        UriTemplateMatchConfigSchema,
        create(UriTemplateMatchConfigSchema, { pathTemplate }),
      ),
    },
  },
});

const at = (url: string) => ask((subject) => void (subject.path = url));

test('permissions', () => {
  const cases: [string, PermissionInit, RbacSubject, boolean][] = [
    ['any', anything, ask(), true],
    ['header :method', header(':method', 'GET'), ask(), true],
    ['header :authority', header(':authority', 'other'), ask(), false],
    ['path exact without query', path('exact', '/a'), at('/a?x=1'), true],
    ['path exact without fragment', path('exact', '/a'), at('/a#x?y'), true],
    ['path prefix', path('prefix', '/admin'), at('/administrator'), true],
    ['path suffix looks at the path only', path('suffix', '.html'), at('/x?f=.html'), false],
    ['path on a connection', path('prefix', '/'), ask((s) => void (s.path = undefined)), false],
    ['template *', template('/a/*/c'), at('/a/b/c?q'), true],
    ['template * is one segment', template('/a/*/c'), at('/a/b/b/c'), false],
    ['template **', template('/a/**'), at('/a/b/c'), true],
    ['template ** with suffix', template('/a/**/end'), at('/a/b/c/end'), true],
    ['template variable', template('/{x}/{y=b/*}'), at('/a/b/c'), true],
    ['destination port', { rule: { case: 'destinationPort', value: 8080 } }, ask(), true],
    [
      'port range without its end',
      { rule: { case: 'destinationPortRange', value: { start: 80, end: 8080 } } },
      ask(),
      false,
    ],
    [
      'destination ip',
      { rule: { case: 'destinationIp', value: { addressPrefix: '10.0.0.0', prefixLen: 24 } } },
      ask(),
      true,
    ],
    [
      'sni',
      {
        rule: { case: 'requestedServerName', value: { matchPattern: { case: 'suffix', value: '.example' } } },
      },
      ask((s) => void (s.connection.requestedServerName = 'a.example')),
      true,
    ],
    ['not', { rule: { case: 'notRule', value: anything } }, ask(), false],
    [
      'and',
      { rule: { case: 'andRules', value: { rules: [anything, header(':method', 'PUT')] } } },
      ask(),
      false,
    ],
    [
      'or',
      { rule: { case: 'orRules', value: { rules: [header(':method', 'PUT'), anything] } } },
      ask(),
      true,
    ],
  ];
  for (const [name, permission, subject, expected] of cases) {
    const rules = engine(permission, anyone);
    assert.equal(rules.allows(rules.find(subject)), expected, name);
  }
});

const named = (pattern: 'exact' | 'prefix' | 'suffix' | 'contains', value: string): PrincipalInit => ({
  identifier: {
    case: 'authenticated',
    value: { principalName: { matchPattern: { case: pattern, value } } },
  },
});
const namedByRegex = (regex: string): PrincipalInit => ({
  identifier: {
    case: 'authenticated',
    value: { principalName: { matchPattern: { case: 'safeRegex', value: { regex } } } },
  },
});
const id = 'spiffe://cluster.local/ns/default/sa/sleep';
const withTls = (values: Partial<TlsInfo>) => ask((subject) => void (subject.connection.tls = tls(values)));

test('principals', () => {
  const sleep = withTls({ peerUriSans: [id] });
  const claim = (value: string): PrincipalInit => ({
    identifier: {
      case: 'metadata',
      value: {
        filter: 'envoy.filters.http.jwt_authn',
        path: [{ segment: { case: 'key', value: 'payload' } }, { segment: { case: 'key', value: 'aud' } }],
        value: {
          matchPattern: {
            case: 'orMatch',
            value: {
              valueMatchers: [
                { matchPattern: { case: 'stringMatch', value: { matchPattern: { case: 'exact', value } } } },
                {
                  matchPattern: {
                    case: 'listMatch',
                    value: {
                      matchPattern: {
                        case: 'oneOf',
                        value: {
                          matchPattern: {
                            case: 'stringMatch',
                            value: { matchPattern: { case: 'exact', value } },
                          },
                        },
                      },
                    },
                  },
                },
              ],
            },
          },
        },
      },
    },
  });
  const withClaims = (payload: unknown) =>
    ask((s) => s.streamInfo.setDynamicMetadata('envoy.filters.http.jwt_authn', { payload }));
  const cidr = (addressPrefix: string, prefixLen: number) => ({ addressPrefix, prefixLen });
  const cases: [string, PrincipalInit, RbacSubject, boolean][] = [
    ['any certificate', { identifier: { case: 'authenticated', value: {} } }, sleep, true],
    ['no certificate', { identifier: { case: 'authenticated', value: {} } }, ask(), false],
    [
      'TLS, whatever it asks of clients',
      { identifier: { case: 'authenticated', value: {} } },
      withTls({ peerCertificateValidated: false }),
      true,
    ],
    ['exact', named('exact', id), sleep, true],
    ['other', named('exact', `${id}x`), sleep, false],
    ['prefix', named('prefix', 'spiffe://cluster.local/'), sleep, true],
    ['suffix', named('suffix', '/sa/sleep'), sleep, true],
    ['contains', named('contains', '/ns/default/'), sleep, true],
    ['regex matches whole names', namedByRegex('.*/ns/default/.*'), sleep, true],
    ['regex does not match parts', namedByRegex('/ns/default/'), sleep, false],
    ['plain text has no name', namedByRegex('.*'), ask(), false],
    ['second URI', named('exact', id), withTls({ peerUriSans: ['spiffe://x', id] }), true],
    ['DNS', named('exact', 'a.example'), withTls({ peerDnsSans: ['a.example'] }), true],
    ['subject', named('exact', 'CN=a'), withTls({ peerSubject: 'CN=a' }), true],
    ['source_ip', { identifier: { case: 'sourceIp', value: cidr('10.1.0.0', 16) } }, ask(), true],
    [
      'direct_remote_ip is the socket',
      { identifier: { case: 'directRemoteIp', value: cidr('10.1.0.7', 32) } },
      ask((s) => void (s.connection.remoteAddress = { ip: '1.2.3.4', port: 1 })),
      true,
    ],
    [
      'remote_ip is what the request tells',
      { identifier: { case: 'remoteIp', value: cidr('1.2.3.0', 24) } },
      ask((s) => void (s.streamInfo.remoteAddress = { ip: '1.2.3.4', port: 0 })),
      true,
    ],
    ['claim as text', claim('a'), withClaims({ aud: 'a' }), true],
    ['claim as list', claim('a'), withClaims({ aud: ['b', 'a'] }), true],
    ['other claim', claim('a'), withClaims({ aud: ['b'] }), false],
    ['no token', claim('a'), ask(), false],
    [
      'filter state',
      {
        identifier: {
          case: 'filterState',
          value: {
            key: 'k',
            matcher: { case: 'stringMatch', value: { matchPattern: { case: 'exact', value: 'v' } } },
          },
        },
      },
      ask((s) => s.streamInfo.setFilterState('k', 'v')),
      true,
    ],
    [
      'metadata of the route',
      {
        identifier: {
          case: 'sourcedMetadata',
          value: {
            metadataSource: MetadataSource.ROUTE,
            metadataMatcher: {
              filter: 'f',
              path: [{ segment: { case: 'key', value: 'open' } }],
              value: { matchPattern: { case: 'boolMatch', value: true } },
            },
          },
        },
      },
      ask((s) => {
        const route: FilterRoute = {
          name: '',
          clusterName: '',
          metadata: { f: { open: true } },
          perFilterConfig: () => undefined,
        };
        s.callbacks = { route: () => route };
      }),
      true,
    ],
    ['not', { identifier: { case: 'notId', value: named('exact', id) } }, sleep, false],
    ['and', { identifier: { case: 'andIds', value: { ids: [anyone, named('exact', id)] } } }, sleep, true],
    ['or of nothing', { identifier: { case: 'orIds', value: { ids: [] } } }, sleep, false],
  ];
  for (const [name, principal, subject, expected] of cases) {
    const rules = engine(anything, principal);
    assert.equal(rules.allows(rules.find(subject)), expected, name);
  }
});

test('actions, and the first policy by name', () => {
  const policy = { permissions: [anything], principals: [anyone] };
  const nobody = {
    permissions: [{ rule: { case: 'notRule' as const, value: anything } }],
    principals: [anyone],
  };
  const build = (action: RBAC_Action, policies: Record<string, typeof policy>) =>
    new RbacEngine(create(RBACSchema, { action, policies: policies as never }), 'rules');
  const deny = build(RBAC_Action.DENY, { b: policy, 'a-Z': nobody as never, B: policy });
  const index = deny.find(ask());
  assert.equal(deny.nameOf(index), 'B');
  assert.equal(deny.allows(index), false);
  assert.equal(deny.allows(-1), true);
  const allow = build(RBAC_Action.ALLOW, {});
  assert.equal(allow.find(ask()), -1);
  assert.equal(allow.allows(-1), false);
  const log = build(RBAC_Action.LOG, { x: policy });
  assert.equal(log.logs && log.allows(log.find(ask())) && log.allows(-1), true);
});

test('texts of denials and shadow rules', () => {
  assert.equal(
    denialDetails('ns[a]-policy[b c]-rule[0]'),
    'rbac_access_denied_matched_policy[ns[a]-policy[b_c]-rule[0]]',
  );
  assert.equal(denialDetails(''), 'rbac_access_denied_matched_policy[none]');
  const any = { permissions: [{ rule: { case: 'any' as const, value: true } }] };
  const policies = { p: { ...any, principals: [{ identifier: { case: 'any' as const, value: true } }] } };
  const engine = new RbacEngine(create(RBACSchema, { action: RBAC_Action.DENY, policies }), 'rules');
  assert.deepEqual(engine.metadataOf('x_shadow_', 0), {
    x_shadow_effective_policy_id: 'p',
    x_shadow_engine_result: 'denied',
  });
  assert.equal(engine.metadataOf('x_shadow_', 0), engine.metadataOf('x_shadow_', 0));
  assert.deepEqual(engine.metadataOf('shadow_', -1), { shadow_engine_result: 'allowed' });
});

test('what cannot be run is refused with its place', () => {
  const cases: [PermissionInit, PrincipalInit, RegExp][] = [
    [{}, anyone, /^rules\.policies\["p"\]\.permissions\[0\]: permission without rule$/],
    [
      { rule: { case: 'andRules', value: { rules: [template('a')] } } },
      anyone,
      /permissions\[0\]\.and_rules\[0\]: path template 'a' does not begin with \//,
    ],
    [template('/a/**/*'), anyone, /\* behind \*\*/],
    [template('/{x}/{x}'), anyone, /'x' stands twice/],
    [{ rule: { case: 'matcher', value: { name: 'm' } } }, anyone, /matcher m is not supported/],
    [anything, {}, /principals\[0\]: principal without identifier/],
    [anything, { identifier: { case: 'custom', value: { name: 'c' } } }, /custom principal c/],
    [
      anything,
      { identifier: { case: 'sourceIp', value: { addressPrefix: 'x' } } },
      /principals\[0\]: not an IP address/,
    ],
    [anything, namedByRegex('('), /principals\[0\]: regex/],
  ];
  for (const [permission, principal, message] of cases)
    assert.throws(() => engine(permission, principal), { message });
  const auditor = { auditLogger: { name: 'stdout' } };
  for (const [isOptional, refused] of [
    [true, false],
    [false, true],
  ] as const) {
    const config = create(RBACSchema, {
      auditLoggingOptions: { loggerConfigs: [{ ...auditor, isOptional }] },
    });
    const build = (): RbacEngine => new RbacEngine(config, 'rules');
    if (refused)
      assert.throws(build, /^Error: rules\.audit_logging_options: logger stdout is not implemented$/);
    else build();
  }
  const withCondition = create(RBACSchema, {
    policies: { p: { permissions: [anything], principals: [anyone], condition: {} } },
  });
  assert.throws(() => new RbacEngine(withCondition, 'shadow_rules'), /shadow_rules.*condition: CEL/);
});
