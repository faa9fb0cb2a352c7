/** TLS of clusters: what a DestinationRule asks for, else automatic mutual TLS by what each endpoint can. */
import { create } from '@bufbuild/protobuf';
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_TransportSocketMatchSchema,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { TransportSocket } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
  type SubjectAltNameMatcher,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import { SdsSecretConfigSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import {
  type CommonTlsContext,
  CommonTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { HttpProtocolOptionsSchema } from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import { buildSniClusterName } from '#api/cluster_name.ts';
import { HTTP_PROTOCOL_OPTIONS } from '#api/type_urls.ts';
import { alpn } from '#api/well_known.ts';
import type { ClientTLSSettings } from '#config/kinds/destination_rule/types.ts';
import { expandTrustDomains, type MeshIndex } from '../../model/mesh_index.ts';
import { isHttp } from '../../model/protocol.ts';
import type { Service, ServicePort } from '../../model/service.ts';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { agentSecret, meshTlsContext, rawBuffer, spiffeMatcher, upstreamTls } from '../transport_socket.ts';
import { adsSource, any, exactMatch } from '../wire.ts';

/** Where Linux distributions keep the roots of public authorities. */
const systemRoots = '/etc/ssl/certs/ca-certificates.crt';

/** What TLS of a cluster depends on. */
export interface UpstreamTlsInput {
  readonly mesh: MeshIndex;
  readonly service: Service;
  readonly port: ServicePort;
  /** Whether the cluster speaks HTTP/2 whatever the caller speaks. */
  readonly http2: boolean;
  readonly subset: string;
  /** `tls` of the traffic policy; undefined: automatic. */
  readonly settings: ClientTLSSettings | undefined;
  /** SPIFFE IDs of the endpoints. */
  readonly serviceAccounts: readonly string[];
  /** Whether the proxy runs `istio.metadata_exchange` on TCP. */
  readonly metadataExchange: boolean;
  /** Whether all endpoints take mutual TLS; asked for clusters whose hosts carry no metadata. */
  readonly allEndpointsMutual: boolean;
}

function meshAlpn(input: UpstreamTlsInput): readonly string[] {
  const names = input.metadataExchange ? [alpn.istioPeerExchange, alpn.istio] : [alpn.istio];
  return input.http2 ? [...names, alpn.h2] : names;
}

/** Mutual TLS with the mesh's certificates. */
function meshSocket(input: UpstreamTlsInput, settings: ClientTLSSettings | undefined): TransportSocket {
  const { mesh, service, port, subset } = input;
  const own = settings?.subjectAltNames ?? [];
  const names = own.length > 0 ? own : expandTrustDomains(input.serviceAccounts, mesh);
  const peers = names.map((name) => spiffeMatcher(exactMatch(name)));
  const sni =
    settings?.sni ??
    buildSniClusterName({ direction: 'outbound', port: port.port, subset, host: service.hostname });
  return upstreamTls(meshTlsContext(mesh, meshAlpn(input), peers), sni);
}

function namedPeers(names: readonly string[]): SubjectAltNameMatcher[] {
  return names.map((name) =>
    create(SubjectAltNameMatcherSchema, {
      sanType: name.includes('://') ? SubjectAltNameMatcher_SanType.URI : SubjectAltNameMatcher_SanType.DNS,
      matcher: exactMatch(name),
    }),
  );
}

/** Where the client's certificate and the roots come from: a Secret by the control plane, or files by the agent. */
function credentials(settings: ClientTLSSettings) {
  const { credentialName, clientCertificate, privateKey } = settings;
  if (credentialName !== undefined) {
    const secret = (name: string) => create(SdsSecretConfigSchema, { name, sdsConfig: adsSource() });
    return {
      certificate: secret(`kubernetes://${credentialName}`),
      roots: secret(`kubernetes://${credentialName}-cacert`),
    };
  }
  return {
    certificate:
      clientCertificate === undefined || privateKey === undefined
        ? undefined
        : agentSecret(`file-cert:${clientCertificate}~${privateKey}`),
    roots: agentSecret(`file-root:${settings.caCertificates ?? systemRoots}`),
  };
}

/** TLS to servers outside the mesh: SIMPLE and MUTUAL. */
function ordinaryContext(input: UpstreamTlsInput, settings: ClientTLSSettings): CommonTlsContext {
  const { certificate, roots } = credentials(settings);
  const names = settings.subjectAltNames ?? input.service.subjectAltNames;
  return create(CommonTlsContextSchema, {
    alpnProtocols: input.http2 ? [alpn.h2] : [],
    tlsCertificateSdsSecretConfigs:
      settings.mode === 'MUTUAL' && certificate !== undefined ? [certificate] : [],
    ...(settings.insecureSkipVerify === true
      ? {}
      : {
          validationContextType: {
            case: 'combinedValidationContext' as const,
            value: {
              defaultValidationContext: {
                matchTypedSubjectAltNames: namedPeers(names),
                ...(settings.caCrl === undefined ? {} : { crl: filename(settings.caCrl) }),
              },
              validationContextSdsSecretConfig: roots,
            },
          },
        }),
  });
}

function filename(value: string) {
  return { specifier: { case: 'filename' as const, value } };
}

/** Without a name in the rule, the server name and the expected name are the host of the request. */
function applyAutoSni(cluster: Cluster): void {
  const packed = cluster.typedExtensionProtocolOptions[HTTP_PROTOCOL_OPTIONS];
  const options = packed === undefined ? undefined : anyUnpack(packed, HttpProtocolOptionsSchema);
  if (options === undefined) return;
  options.upstreamHttpProtocolOptions = {
    $typeName: 'envoy.config.core.v3.UpstreamHttpProtocolOptions',
    autoSni: true,
    autoSanValidation: true,
    overrideAutoSniHeader: '',
  };
  cluster.typedExtensionProtocolOptions[HTTP_PROTOCOL_OPTIONS] = any(HttpProtocolOptionsSchema, options);
}

/** Puts TLS into a cluster. */
export function applyUpstreamTls(cluster: Cluster, input: UpstreamTlsInput): void {
  const { settings, service, mesh } = input;
  switch (settings?.mode ?? (settings === undefined ? 'AUTO' : 'DISABLE')) {
    case 'DISABLE':
      return;
    case 'SIMPLE':
    case 'MUTUAL':
      cluster.transportSocket = upstreamTls(ordinaryContext(input, settings ?? {}), settings?.sni ?? '');
      if (settings?.sni === undefined && isHttp(input.port.protocol)) applyAutoSni(cluster);
      return;
    case 'ISTIO_MUTUAL':
      cluster.transportSocket = meshSocket(input, settings);
      return;
    default:
  }
  if (!mesh.autoMtls || service.meshExternal) return;
  if (cluster.clusterDiscoveryType.value === Cluster_DiscoveryType.ORIGINAL_DST) {
    // Hosts found by original destination carry no metadata to match on: it is all of them or none.
    if (input.allEndpointsMutual) cluster.transportSocket = meshSocket(input, undefined);
    return;
  }
  cluster.transportSocketMatches = [
    create(Cluster_TransportSocketMatchSchema, {
      name: 'tlsMode-istio',
      match: { tlsMode: 'istio' },
      transportSocket: meshSocket(input, undefined),
    }),
    create(Cluster_TransportSocketMatchSchema, {
      name: 'tlsMode-disabled',
      match: {},
      transportSocket: rawBuffer(),
    }),
  ];
}
