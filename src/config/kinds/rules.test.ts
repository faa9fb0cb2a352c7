/** Rules of the kinds: what is refused, where, and with which code. The first document of each table is accepted. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { Checker } from '../schema/checker.ts';
import { formatPath } from '../schema/issue.ts';
import { withoutNulls } from '../schema/schema.ts';
import { yamlOptions } from '../yaml/options.ts';
import { findKind, kinds } from './kinds.ts';

function findings(kind: string, spec: string): string[] {
  const entry = kinds.find((candidate) => candidate.kind === kind);
  const checker = new Checker({ name: 'x', namespace: 'default' });
  entry!.body.check(withoutNulls({ spec: parse(spec, yamlOptions()) as unknown }), checker);
  return checker.issues.map(
    ({ severity, code, path }) =>
      `${severity === 'warning' ? 'warning ' : ''}${code} ${formatPath(path).replace(/^spec\.?/, '')}`,
  );
}

/** Spec to findings, as `code path` below the spec; none means accepted. */
function table(kind: string, rows: readonly (readonly [spec: string, ...findings: string[]])[]): void {
  describe(kind, () => {
    for (const [spec, ...expected] of rows) it(spec, () => assert.deepEqual(findings(kind, spec), expected));
  });
}

const to = 'route: [{destination: {host: a}}]';
const http = (rule: string): string => `{hosts: [a], http: [{${rule}}]}`;

table('VirtualService', [
  [http(to)],
  [
    '{hosts: [a], gateways: [g, ns/g, mesh, old.ns.svc], http: [{route: [{destination: {host: a.b, subset: v1, port: {number: 80}}, weight: 0}]}], exportTo: [., ns]}',
  ],
  ['{hosts: ["*"], gateways: [g], http: [{redirect: {uri: /x, redirectCode: 308}}]}'],
  [
    '{hosts: [1.2.3.4, "*.b.c"], tcp: [{match: [{port: 1, destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a}}]}]}',
  ],
  ['{hosts: ["*.b.c"], tls: [{match: [{sniHosts: [x.b.c]}], route: [{destination: {host: a}}]}]}'],
  ['{http: [{route: [{destination: {host: a}}]}]}'],
  ['{}', 'missing_field http'],
  ['{hosts: [a]}', 'missing_field http'],
  ['{hosts: ["*"], http: [{redirect: {uri: /x}}]}', 'invalid_host hosts[0]'],
  [`{hosts: [a.com, "*.com"], http: [{${to}}]}`, 'duplicate hosts[1]'],
  [`{hosts: [a_b], http: [{${to}}]}`, 'invalid_host hosts[0]'],
  [`{hosts: [a], gateways: [a/b/c], http: [{${to}}]}`, 'invalid_name gateways[0]'],
  [`{hosts: [a], exportTo: ["*", x], http: [{${to}}]}`, 'conflict exportTo'],
  [`{gateways: [g], tcp: [{${to}}]}`, 'mutually_exclusive gateways', 'mutually_exclusive tcp'],
  ['{http: [{delegate: {name: x}}]}', 'invalid_reference http[0].delegate'],
  [http(''), 'missing_field http[0].route'],
  [http('route: [{destination: {host: "*"}}]'), 'invalid_host http[0].route[0].destination.host'],
  [http('route: [{weight: 1}]'), 'missing_field http[0].route[0].destination'],
  [
    http('route: [{destination: {host: a, port: {}}}]'),
    'missing_field http[0].route[0].destination.port.number',
  ],
  [
    http('route: [{destination: {host: a, port: {number: 65536}}}]'),
    'out_of_range http[0].route[0].destination.port.number',
  ],
  [http('route: [{destination: {host: a}, weight: -1}]'), 'out_of_range http[0].route[0].weight'],
  [http('route: [{destination: {host: a}}, {destination: {host: b}}]'), 'invalid_value http[0].route'],
  [http(`${to}, redirect: {uri: /x}`), 'mutually_exclusive http[0].route'],
  [http(`${to}, directResponse: {status: 200}`), 'mutually_exclusive http[0].route'],
  [http(`${to}, delegate: {name: x}`), 'mutually_exclusive http[0].route'],
  [http('directResponse: {status: 99}'), 'out_of_range http[0].directResponse.status'],
  [
    http('directResponse: {status: 200, body: {string: a, bytes: YQ==}}'),
    'mutually_exclusive http[0].directResponse.body.bytes',
  ],
  [http('redirect: {}'), 'missing_field http[0].redirect'],
  [http('redirect: {uri: /x, redirectCode: 200}'), 'out_of_range http[0].redirect.redirectCode'],
  [
    http('redirect: {port: 1, derivePort: FROM_REQUEST_PORT}'),
    'mutually_exclusive http[0].redirect.derivePort',
  ],
  [http(`${to}, timeout: 0s`), 'invalid_duration http[0].timeout'],
  [http(`${to}, timeout: 1.0001s`), 'invalid_duration http[0].timeout'],
  [http(`${to}, retries: {attempts: 0, retryOn: 5xx}`), 'conflict http[0].retries'],
  [
    http(`${to}, retries: {attempts: 2, retryOn: "5xx, 503, never"}`),
    'unknown_value http[0].retries.retryOn',
  ],
  [http(`${to}, fault: {}`), 'missing_field http[0].fault'],
  [
    http(`${to}, fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}`),
    'out_of_range http[0].fault.delay.percentage.value',
  ],
  [http(`${to}, fault: {abort: {grpcStatus: NOPE}}`), 'unknown_value http[0].fault.abort.grpcStatus'],
  [
    http(`${to}, fault: {abort: {httpStatus: 500, grpcStatus: UNKNOWN}}`),
    'mutually_exclusive http[0].fault.abort.grpcStatus',
  ],
  [http(`${to}, fault: {delay: {percentage: {value: 1}}}`), 'warning no_effect http[0].fault.delay'],
  [http(`${to}, rewrite: {}`), 'missing_field http[0].rewrite'],
  [
    http(`${to}, rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}`),
    'mutually_exclusive http[0].rewrite.uriRegexRewrite',
  ],
  [
    http(`${to}, rewrite: {authority: a}, headers: {request: {set: {host: b}}}`),
    'conflict http[0].headers.request.set.host',
  ],
  [
    http(`${to}, headers: {response: {set: {":status": x}, add: {"a b": x}}}`),
    'invalid_header http[0].headers.response.set[":status"]',
    'invalid_header http[0].headers.response.add["a b"]',
  ],
  [
    http(`${to}, mirror: {host: b}, mirrors: [{destination: {host: c}}]`),
    'mutually_exclusive http[0].mirrors',
  ],
  [http(`${to}, mirror_percent: 5`)],
  [http(`${to}, corsPolicy: {maxAge: 1500ms}`), 'invalid_duration http[0].corsPolicy.maxAge'],
  [http(`${to}, corsPolicy: {allowMethods: [FETCH]}`), 'unknown_value http[0].corsPolicy.allowMethods[0]'],
  [http(`${to}, match: [{uri: {regex: "("}}]`), 'invalid_regex http[0].match[0].uri.regex'],
  [http(`${to}, match: [{uri: {prefix: ""}}]`), 'invalid_value http[0].match[0].uri.prefix'],
  [
    http(`${to}, match: [{headers: {":path": {exact: x}}}]`),
    'invalid_header http[0].match[0].headers[":path"]',
  ],
  [
    http(`${to}, match: [{headers: {"@request.auth.claims.a": {exact: x}}}]`),
    'conflict http[0].match[0].headers["@request.auth.claims.a"]',
  ],
  [http(`${to}, match: [{port: 0}]`), 'out_of_range http[0].match[0].port'],
  [`{hosts: [a], http: [{${to}}, {${to}}]}`, 'warning unreachable http[1]'],
  [
    `{hosts: [a], http: [{match: [{uri: {exact: /}}], ${to}}, {match: [{uri: {exact: /}}], ${to}}]}`,
    'warning unreachable http[1]',
  ],
  [
    `{hosts: [a], http: [{match: [{port: 1}], ${to}}, {match: [{port: 1}, {port: 2}], ${to}}]}`,
    'warning unreachable http[1].match[0]',
  ],
  [
    '{hosts: [a], tls: [{match: [{sniHosts: [b]}], route: [{destination: {host: a}}]}]}',
    'conflict tls[0].match[0].sniHosts[0]',
  ],
  ['{hosts: [a], tls: [{match: [], route: [{destination: {host: a}}]}]}', 'out_of_range tls[0].match'],
  ['{hosts: [a], tcp: [{}]}', 'missing_field tcp[0].route'],
]);

const policy = (blocks: string): string => `{host: a, trafficPolicy: {${blocks}}}`;
const lb = (settings: string): string => policy(`loadBalancer: {${settings}}`);

table('DestinationRule', [
  ['{host: "*.a.b", subsets: [{name: v1, labels: {version: v1}}]}'],
  [
    policy(
      'loadBalancer: {simple: ROUND_ROBIN}, portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}], retryBudget: {percent: 10, budgetInterval: 0s}',
    ),
  ],
  [lb('consistentHash: {httpCookie: {name: a, ttl: 0s}, maglev: {tableSize: 65537}}')],
  [lb('simple: LEAST_REQUEST, warmup: {duration: 1m, minimumPercent: 10, aggression: 1.5}')],
  ['{}', 'missing_field host'],
  ['{host: a_b}', 'invalid_host host'],
  ['{host: a, subsets: [{name: v1}, {name: v1}]}', 'duplicate subsets[1].name'],
  [
    '{host: a, subsets: [{labels: {a: b}}, {name: "v.1"}]}',
    'missing_field subsets[0].name',
    'invalid_name subsets[1].name',
  ],
  [policy(''), 'missing_field trafficPolicy'],
  [policy('connectionPool: {}'), 'missing_field trafficPolicy.connectionPool'],
  [
    policy('connectionPool: {tcp: {maxConnections: -1, connectTimeout: 0s}}'),
    'out_of_range trafficPolicy.connectionPool.tcp.maxConnections',
    'invalid_duration trafficPolicy.connectionPool.tcp.connectTimeout',
  ],
  [
    policy('connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}'),
    'conflict trafficPolicy.connectionPool.http.useClientProtocol',
  ],
  [policy('portLevelSettings: [{port: {number: 80}}]'), 'missing_field trafficPolicy.portLevelSettings[0]'],
  [
    policy('tunnel: {targetHost: a, targetPort: 1}, proxyProtocol: {version: V2}'),
    'mutually_exclusive trafficPolicy.proxyProtocol',
  ],
  [
    policy('outlierDetection: {consecutiveLocalOriginFailures: 1}'),
    'conflict trafficPolicy.outlierDetection.consecutiveLocalOriginFailures',
  ],
  [
    policy('outlierDetection: {maxEjectionPercent: 101, interval: 1ns}'),
    'out_of_range trafficPolicy.outlierDetection.maxEjectionPercent',
    'invalid_duration trafficPolicy.outlierDetection.interval',
  ],
  [
    policy('tls: {mode: MUTUAL}'),
    'missing_field trafficPolicy.tls.clientCertificate',
    'missing_field trafficPolicy.tls.privateKey',
  ],
  [
    policy('tls: {mode: SIMPLE, credentialName: a, caCertificates: b}'),
    'mutually_exclusive trafficPolicy.tls.caCertificates',
  ],
  [policy('tls: {mode: ISTIO}'), 'unknown_value trafficPolicy.tls.mode'],
  [
    lb('simple: RANDOM, consistentHash: {useSourceIp: true}'),
    'mutually_exclusive trafficPolicy.loadBalancer.consistentHash',
  ],
  [
    lb('consistentHash: {httpCookie: {ttl: 1s}}'),
    'missing_field trafficPolicy.loadBalancer.consistentHash.httpCookie.name',
  ],
  [
    lb('consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}'),
    'invalid_value trafficPolicy.loadBalancer.consistentHash.maglev.tableSize',
  ],
  [
    lb('warmup: {minimumPercent: 101, aggression: 0}'),
    'out_of_range trafficPolicy.loadBalancer.warmup.minimumPercent',
    'out_of_range trafficPolicy.loadBalancer.warmup.aggression',
    'missing_field trafficPolicy.loadBalancer.warmup.duration',
  ],
  [
    lb('localityLbSetting: {distribute: [{from: a/*, to: {a/b: 60, c: 30}}]}'),
    'invalid_value trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to',
  ],
  [
    lb('localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}'),
    'mutually_exclusive trafficPolicy.loadBalancer.localityLbSetting.failover',
  ],
  [
    lb('localityLbSetting: {distribute: [{from: a, to: {b: 100}}, {from: a/b, to: {b: 100}}]}'),
    'duplicate trafficPolicy.loadBalancer.localityLbSetting.distribute',
  ],
  [
    lb('localityLbSetting: {failover: [{from: a, to: a}]}'),
    'conflict trafficPolicy.loadBalancer.localityLbSetting.failover[0].to',
  ],
  [
    lb('localityLbSetting: {failover: [{from: a, to: b}]}'),
    'warning no_effect trafficPolicy.loadBalancer.localityLbSetting',
  ],
  ['{host: a, workloadSelector: {matchLabels: {a: "b*"}}}', 'invalid_label workloadSelector.matchLabels.a'],
]);

const server = (more: string, port = 'number: 443, protocol: HTTPS, name: https'): string =>
  `{servers: [{port: {${port}}, hosts: ["ns/*.b.c", "*"]${more === '' ? '' : `, ${more}`}}]}`;

table('Gateway', [
  [server('', 'number: 80, protocol: HTTP, name: http')],
  [server('tls: {mode: SIMPLE, credentialName: c}')],
  [server('tls: {mode: PASSTHROUGH}', 'number: 443, protocol: TLS, name: tls')],
  [server('tls: {httpsRedirect: true}', 'number: 80, protocol: HTTP, name: http')],
  ['{}', 'missing_field servers'],
  ['{servers: [{hosts: [a]}]}', 'missing_field servers[0].port'],
  [
    server('', 'number: 0, protocol: HTTPX, name: a.b'),
    'out_of_range servers[0].port.number',
    'invalid_protocol servers[0].port.protocol',
    'invalid_name servers[0].port.name',
  ],
  [
    '{servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: [a b, n_s/a, "x/1.2.3.4/8"]}]}',
    'invalid_host servers[0].hosts[0]',
    'invalid_name servers[0].hosts[1]',
    'invalid_host servers[0].hosts[2]',
  ],
  [server(''), 'missing_field servers[0].tls'],
  [
    server('tls: {mode: SIMPLE}'),
    'missing_field servers[0].tls.serverCertificate',
    'missing_field servers[0].tls.privateKey',
  ],
  [
    server('tls: {mode: MUTUAL, serverCertificate: a, privateKey: b}'),
    'missing_field servers[0].tls.caCertificates',
  ],
  [
    server('tls: {mode: ISTIO_MUTUAL, credentialName: a}'),
    'mutually_exclusive servers[0].tls.credentialName',
  ],
  [
    server(
      'tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2}',
    ),
    'conflict servers[0].tls.maxProtocolVersion',
  ],
  [
    server('tls: {mode: SIMPLE, credentialName: a, credentialNames: [b]}'),
    'mutually_exclusive servers[0].tls.credentialNames',
  ],
  [
    server('tls: {mode: SIMPLE, credentialName: a}', 'number: 80, protocol: HTTP, name: http'),
    'conflict servers[0].tls',
  ],
  [
    '{servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: [x]}, {port: {number: 81, protocol: HTTP, name: a}, hosts: [x]}]}',
    'duplicate servers[1].port.name',
  ],
]);

table('Sidecar', [
  ['{egress: [{hosts: ["./*", "istio-system/*", "~/*"]}]}'],
  [
    '{ingress: [{port: {number: 80, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:8080"}], outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a, port: {number: 1}}}}',
  ],
  ['{egress: [{port: {number: 0, protocol: HTTP, name: x}, bind: "unix:///x", hosts: [a/b]}]}'],
  ['{}', 'missing_field '],
  ['{egress: [{hosts: []}]}', 'out_of_range egress[0].hosts'],
  [
    '{egress: [{hosts: [a, "a/b c", a/b, a/b]}]}',
    'invalid_host egress[0].hosts[0]',
    'invalid_host egress[0].hosts[1]',
  ],
  ['{egress: [{hosts: [a/b]}, {hosts: [a/c]}]}', 'conflict egress[0]'],
  ['{egress: [{port: {number: 0}, hosts: [a/b]}]}', 'invalid_port egress[0].port.number'],
  ['{ingress: [{port: {number: 80}}, {port: {number: 80}}]}', 'duplicate ingress[1].port.number'],
  [
    '{ingress: [{port: {number: 80}, defaultEndpoint: "10.0.0.1:80"}]}',
    'invalid_address ingress[0].defaultEndpoint',
  ],
  [
    '{ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: a}}]}',
    'conflict ingress[0].tls.credentialName',
  ],
  [
    '{outboundTrafficPolicy: {egressProxy: {host: a}}}',
    'conflict outboundTrafficPolicy.egressProxy',
    'missing_field outboundTrafficPolicy.egressProxy.port',
  ],
  [
    '{workloadSelector: {matchLabels: {a: b}}, egress: [{hosts: [a/b]}]}',
    'unknown_field workloadSelector.matchLabels',
  ],
]);

table('ServiceEntry', [
  [
    '{hosts: [a.b], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4, ports: {http: 8080}}, {address: "unix:///x"}]}',
  ],
  ['{hosts: [a.b], resolution: STATIC, endpoints: [{address: a.b}]}', 'invalid_address endpoints[0].address'],
  ['{hosts: ["*.b"], resolution: DNS}', 'invalid_host hosts[0]'],
  [
    '{hosts: [a.b], resolution: STATIC, endpoints: [{address: 1.2.3.4, ports: {x: 1}}]}',
    'invalid_reference endpoints[0].ports.x',
  ],
  [
    '{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}, {number: 81, name: a, protocol: HTTP}]}',
    'duplicate ports[1].name',
  ],
]);

table('ProxyConfig', [
  ['{}'],
  [
    '{selector: {matchLabels: {a: b}}, concurrency: 0, environmentVariables: {A: b}, image: {imageType: debug}}',
  ],
  ['{selector: {matchLabels: {}}}', 'warning no_effect selector.matchLabels'],
  ['{selector: {matchLabels: {"": b}}}', 'invalid_label selector.matchLabels[""]'],
  ['{concurrency: -1}', 'out_of_range concurrency'],
  ['{environmentVariables: {A: 1}}', 'wrong_type environmentVariables.A'],
  ['{image: debug}', 'wrong_type image'],
  ['{concurrencies: 1}', 'unknown_field concurrencies'],
]);

table('PeerAuthentication', [
  ['{selector: {matchLabels: {a: b}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}'],
  ['{}'],
  ['{mtls: {mode: strict}}', 'unknown_value mtls.mode'],
  [
    '{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: DISABLE}}}',
    'invalid_port portLevelMtls["0"]',
  ],
  ['{selector: {matchLabels: {"*": b}}}', 'invalid_label selector.matchLabels["*"]'],
]);

const rule = (text: string): string => `{rules: [${text}]}`;

table('AuthorizationPolicy', [
  ['{}'],
  [rule('{}')],
  ['{action: CUSTOM, provider: {name: p}, rules: [{}]}'],
  [
    rule(
      '{from: [{source: {principals: ["*"], ipBlocks: [10.0.0.0/8], serviceAccounts: null}}], to: [{operation: {methods: [GET], paths: ["/a/{*}/b/{**}"], ports: ["80"]}}], when: [{key: "request.headers[x]", values: [a]}]}',
    ),
  ],
  ['{action: DENY}', 'missing_field rules'],
  ['{action: CUSTOM, rules: [{}]}', 'missing_field provider.name'],
  ['{action: ALLOW, provider: {name: x}}', 'mutually_exclusive provider'],
  ['{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: a}}', 'mutually_exclusive targetRef'],
  ['{targetRefs: [{kind: Pod, name: a}]}', 'invalid_reference targetRefs[0]'],
  [rule('{from: []}'), 'out_of_range rules[0].from'],
  [rule('{from: [{}]}'), 'missing_field rules[0].from[0].source'],
  [rule('{from: [{source: {}}]}'), 'missing_field rules[0].from[0].source'],
  [rule('{from: [{source: {principals: [""]}}]}'), 'invalid_value rules[0].from[0].source.principals[0]'],
  [rule('{from: [{source: {ipBlocks: [a]}}]}'), 'invalid_address rules[0].from[0].source.ipBlocks[0]'],
  [
    rule('{from: [{source: {serviceAccounts: ["a/b/c", "a/*"]}}]}'),
    'invalid_name rules[0].from[0].source.serviceAccounts[0]',
    'invalid_name rules[0].from[0].source.serviceAccounts[1]',
  ],
  [rule('{to: [{operation: {ports: [80]}}]}'), 'wrong_type rules[0].to[0].operation.ports[0]'],
  [rule('{to: [{operation: {ports: ["0"]}}]}'), 'invalid_port rules[0].to[0].operation.ports[0]'],
  [
    rule('{to: [{operation: {paths: ["/{a}", "/x{*}", "/{**}/{**}", "/{**}/{*}", "/*/{*}"]}}]}'),
    ...[0, 1, 2, 3, 4].map((index) => `invalid_path rules[0].to[0].operation.paths[${index}]`),
  ],
  [rule('{when: [{values: [a]}]}'), 'missing_field rules[0].when[0].key'],
  [rule('{when: [{key: source.ip}]}'), 'missing_field rules[0].when[0].values'],
  [rule('{when: [{key: source.ip, values: [a]}]}'), 'invalid_address rules[0].when[0].values[0]'],
  [rule('{when: [{key: request.headers, values: [a]}]}'), 'unknown_value rules[0].when[0].key'],
  [rule('{when: [{key: constructor, values: [a]}]}'), 'unknown_value rules[0].when[0].key'],
  ['{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}', 'warning no_effect rules[0]'],
]);

table('Telemetry', [
  [
    '{tracing: [{randomSamplingPercentage: 10, customTags: {a: {literal: {value: x}}}}], accessLogging: [{filter: {expression: "response.code >= 400"}}], metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {a: {value: "request.host"}}}]}]}',
  ],
  ['{tracing: [{randomSamplingPercentage: 101}]}', 'out_of_range tracing[0].randomSamplingPercentage'],
  ['{tracing: [{customTags: {a: {}}}]}', 'missing_field tracing[0].customTags.a'],
  ['{accessLogging: [{filter: {expression: "a >="}}]}', 'invalid_value accessLogging[0].filter.expression'],
  [
    '{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: x}, b: {}}}]}]}',
    'conflict metrics[0].overrides[0].tagOverrides.a.value',
    'missing_field metrics[0].overrides[0].tagOverrides.b.value',
  ],
  [
    '{metrics: [{overrides: [{match: {metric: ALL_METRICS, customMetric: x}}]}]}',
    'mutually_exclusive metrics[0].overrides[0].match.customMetric',
  ],
  ['{metrics: [{reportingInterval: 0s}]}', 'invalid_duration metrics[0].reportingInterval'],
]);

table('Service', [
  ['{selector: {a: b}, ports: [{port: 80, targetPort: http, name: http, appProtocol: h2c}], unread: {x: 1}}'],
  ['{clusterIP: None}'],
  ['{ports: []}', 'missing_field ports'],
  ['{type: ExternalName}', 'missing_field externalName'],
  ['{ports: [{port: "80"}]}', 'wrong_type ports[0].port'],
  [
    '{ports: [{port: 1, name: a}, {port: 2, name: a}, {port: 3}]}',
    'duplicate ports[1].name',
    'missing_field ports[2].name',
  ],
]);

table('Deployment', [
  [
    '{selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}',
  ],
  [
    '{selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c}]}}}',
    'conflict selector.matchLabels.a',
  ],
  [
    '{selector: {}, template: {spec: {containers: [{name: c}, {name: c}]}}}',
    'duplicate template.spec.containers[1].name',
  ],
  [
    '{selector: {}, template: {spec: {containers: [{name: c, env: [{name: A, value: 1}], ports: [{containerPort: 0}]}]}}}',
    'wrong_type template.spec.containers[0].env[0].value',
    'out_of_range template.spec.containers[0].ports[0].containerPort',
  ],
]);

describe('the list of kinds', () => {
  it('finds a kind by each of its versions, and nothing else', () => {
    for (const version of ['v1alpha3', 'v1beta1', 'v1']) {
      assert.equal(
        findKind(`networking.istio.io/${version}`, 'Sidecar')?.apiVersion,
        'networking.istio.io/v1',
      );
    }
    assert.equal(findKind('gateway.networking.k8s.io/v1', 'Gateway'), undefined);
    assert.equal(findKind('telemetry.istio.io/v1alpha1', 'Telemetry')?.apiVersion, 'telemetry.istio.io/v1');
  });
  it('names no kind, plural or short name twice', () => {
    const names = kinds.flatMap(({ kind, plural, shortNames }) => [
      kind,
      ...new Set([plural, ...shortNames]),
    ]);
    assert.equal(new Set(names).size, names.length);
  });
});
