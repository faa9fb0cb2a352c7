/** Schema of MeshConfig, with Istio's rules. */
import {
  clientTls,
  connectionPool,
  outlierDetection,
  tcpKeepalive,
} from '../kinds/destination_rule/connection_pool.ts';
import { localityLbSetting, zoneAwareLbSetting } from '../kinds/destination_rule/load_balancer.ts';
import { httpRetry } from '../kinds/virtual_service/http_route.ts';
import { duration } from '../schema/duration.ts';
import { exportTo, isFqdn, isObjectName, isWildcardDomain, port } from '../schema/names.ts';
import { type Schema, boolean, integer, list, map, object, oneOf, string } from '../schema/schema.ts';
import { extensionProvider } from './extension_provider_schema.ts';
import { proxyConfig } from './proxy_config_schema.ts';
import type {
  CA,
  CertificateData,
  ConfigSource,
  DefaultProviders,
  DefaultTrafficPolicy,
  LabelSelector,
  LabelSelectorRequirement,
  MeshConfig,
  MeshOutboundTrafficPolicy,
  ProxyPathNormalization,
  ServiceEntryVisibility,
  ServiceScopeConfigs,
  ServiceSettings,
  TLSConfig,
} from './types.ts';

const names = list(string({ minLength: 1 }));
const namespaces = list(string(), { rule: exportTo });
const trustDomain = string({
  expected: 'a trust domain such as "cluster.local"',
  code: 'invalid_name',
  test: isFqdn,
});

const labelSelector = object<LabelSelector>({
  matchLabels: map(string()),
  matchExpressions: list(
    object<LabelSelectorRequirement>(
      { key: string(), operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'), values: list(string()) },
      { required: ['key', 'operator'] },
    ),
  ),
});

const tlsConfig = object<TLSConfig>({
  minProtocolVersion: oneOf('TLS_AUTO', 'TLSV1_2', 'TLSV1_3'),
  ecdhCurves: list(oneOf('P-256', 'P-384', 'P-521', 'X25519', 'X25519MLKEM768')),
  cipherSuites: list(string()),
});

const visibility = oneOf('VISIBILITY_UNSPECIFIED', 'NONE', 'NAMESPACE', 'PUBLIC');
type VisibilityPolicy = NonNullable<ServiceEntryVisibility['policies']>[number];
type Certificate = NonNullable<MeshConfig['certificates']>[number];

/** `MeshConfig`. */
export const meshConfig: Schema<MeshConfig> = object<MeshConfig>(
  {
    proxyListenPort: port,
    proxyInboundListenPort: port,
    proxyHttpPort: integer({ min: 0, max: 65_535 }),
    connectTimeout: duration({ minMs: 1, maxMs: 30_000 }),
    hboneIdleTimeout: duration({ minMs: 0 }),
    protocolDetectionTimeout: duration({ minMs: 0 }),
    tcpKeepalive,
    ingressClass: string(),
    ingressService: string(),
    ingressControllerMode: oneOf('UNSPECIFIED', 'OFF', 'DEFAULT', 'STRICT'),
    ingressSelector: string(),
    enableTracing: boolean,
    accessLogFile: string(),
    accessLogFormat: string(),
    accessLogEncoding: oneOf('TEXT', 'JSON'),
    enableEnvoyAccessLogService: boolean,
    disableEnvoyListenerLog: boolean,
    defaultConfig: proxyConfig,
    outboundTrafficPolicy: object<MeshOutboundTrafficPolicy>({
      mode: oneOf('REGISTRY_ONLY', 'ALLOW_ANY', 'ALLOW_ANY_DYNAMIC_DNS'),
      tls: clientTls,
    }),
    inboundTrafficPolicy: object<NonNullable<MeshConfig['inboundTrafficPolicy']>>({
      mode: oneOf('PASSTHROUGH', 'LOCALHOST'),
    }),
    configSources: list(
      object<ConfigSource>({
        address: string(),
        tlsSettings: clientTls,
        subscribedResources: list(oneOf('SERVICE_REGISTRY')),
      }),
    ),
    enableAutoMtls: boolean,
    trustDomain,
    trustDomainAliases: list(trustDomain),
    caCertificates: list(
      object<CertificateData>(
        { pem: string(), spiffeBundleUrl: string(), certSigners: names, trustDomains: list(trustDomain) },
        { atMostOneOf: [['pem', 'spiffeBundleUrl']] },
      ),
    ),
    defaultServiceExportTo: namespaces,
    defaultVirtualServiceExportTo: namespaces,
    defaultDestinationRuleExportTo: namespaces,
    rootNamespace: string({ expected: 'a namespace', code: 'invalid_name', test: isObjectName }),
    localityLbSetting,
    zoneAwareLbSetting,
    dnsRefreshRate: duration(),
    h2UpgradePolicy: oneOf('DO_NOT_UPGRADE', 'UPGRADE'),
    inboundClusterStatName: string(),
    outboundClusterStatName: string(),
    certificates: list(object<Certificate>({ secretName: string(), dnsNames: names })),
    serviceSettings: list(
      object<ServiceSettings>({
        settings: object<NonNullable<ServiceSettings['settings']>>({ clusterLocal: boolean }),
        hosts: list(string({ code: 'invalid_host', expected: 'a DNS name', test: isWildcardDomain })),
      }),
    ),
    serviceScopeConfigs: list(
      object<ServiceScopeConfigs>({
        namespaceSelector: labelSelector,
        servicesSelector: labelSelector,
        scope: oneOf('LOCAL', 'GLOBAL'),
      }),
    ),
    enablePrometheusMerge: boolean,
    verifyCertificateAtClient: boolean,
    ca: object<CA>(
      { address: string(), tlsSettings: clientTls, requestTimeout: duration(), istiodSide: boolean },
      { required: ['address'] },
    ),
    extensionProviders: list(extensionProvider, { rule: checkProviders }),
    defaultProviders: object<DefaultProviders>({ tracing: names, metrics: names, accessLogging: names }),
    discoverySelectors: list(labelSelector),
    pathNormalization: object<ProxyPathNormalization>({
      normalization: oneOf('DEFAULT', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
    }),
    defaultHttpRetryPolicy: httpRetry,
    meshMTLS: tlsConfig,
    tlsDefaults: tlsConfig,
    defaultTrafficPolicy: object<DefaultTrafficPolicy>({ connectionPool, outlierDetection }),
    serviceEntryVisibility: object<ServiceEntryVisibility>({
      defaultVisibility: visibility,
      applyToSidecars: boolean,
      policies: list(
        object<VisibilityPolicy>({
          visibility,
          matchingRules: list(
            object<NonNullable<VisibilityPolicy['matchingRules']>[number]>({
              namespaceSelector: labelSelector,
            }),
          ),
        }),
      ),
    }),
  },
  {
    rule(mesh, at) {
      if (
        mesh.accessLogEncoding === 'JSON' &&
        (mesh.accessLogFormat ?? '') !== '' &&
        !isJsonObject(mesh.accessLogFormat ?? '')
      ) {
        at.error(
          'invalid_value',
          'expected a JSON object, as accessLogEncoding is JSON',
          ['accessLogFormat'],
          'a JSON object',
        );
      }
    },
  },
);

function checkProviders(
  providers: readonly { readonly name?: string }[],
  at: Parameters<Schema<unknown>['check']>[1],
): void {
  const seen = new Set<string | undefined>();
  for (const [index, { name }] of providers.entries()) {
    if (seen.has(name)) at.error('duplicate', `duplicate provider "${name}"`, [index, 'name']);
    seen.add(name);
  }
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
