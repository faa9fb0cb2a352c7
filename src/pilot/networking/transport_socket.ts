/** TLS of the mesh: certificates and roots come from the agent over SDS (cluster `sds-grpc`). */
import { create } from '@bufbuild/protobuf';
import { type TransportSocket, TransportSocketSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  ApiConfigSource_ApiType,
  ApiVersion,
  type ConfigSource,
  ConfigSourceSchema,
} from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { RawBufferSchema } from '#api/gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts';
import {
  type SubjectAltNameMatcher,
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
  type TlsParameters,
  TlsParameters_TlsProtocol,
  TlsParametersSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import {
  type SdsSecretConfig,
  SdsSecretConfigSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import {
  type CommonTlsContext,
  CommonTlsContextSchema,
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import type { StringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { fixedCluster, secretName, transportSocket } from '#api/well_known.ts';
import { type MeshIndex, trustDomains } from '../model/mesh_index.ts';
import { any, durationOf, prefixMatch } from './wire.ts';

/** TLS 1.2 suites between sidecars, unless MeshConfig.meshMTLS names others. */
const meshCipherSuites: readonly string[] = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-GCM-SHA256',
];

/** The agent's SDS server. */
function sdsSource(): ConfigSource {
  return create(ConfigSourceSchema, {
    configSourceSpecifier: {
      case: 'apiConfigSource',
      value: {
        apiType: ApiConfigSource_ApiType.GRPC,
        transportApiVersion: ApiVersion.V3,
        setNodeOnFirstMessageOnly: true,
        grpcServices: [{ targetSpecifier: { case: 'envoyGrpc', value: { clusterName: fixedCluster.sds } } }],
      },
    },
    initialFetchTimeout: durationOf(0),
    resourceApiVersion: ApiVersion.V3,
  });
}

/** A secret that the agent serves. */
export function agentSecret(name: string): SdsSecretConfig {
  return create(SdsSecretConfigSchema, { name, sdsConfig: sdsSource() });
}

function meshTlsParams(mesh: MeshIndex): TlsParameters {
  const settings = mesh.config.meshMTLS;
  const suites = settings?.cipherSuites ?? [];
  return create(TlsParametersSchema, {
    tlsMinimumProtocolVersion:
      settings?.minProtocolVersion === 'TLSV1_3'
        ? TlsParameters_TlsProtocol.TLSv1_3
        : TlsParameters_TlsProtocol.TLSv1_2,
    tlsMaximumProtocolVersion: TlsParameters_TlsProtocol.TLSv1_3,
    cipherSuites: [...(suites.length > 0 ? suites : meshCipherSuites)],
    ecdhCurves: [...(settings?.ecdhCurves ?? [])],
  });
}

/** Matches names of the URI kind, where SPIFFE IDs stand in a certificate. */
export function spiffeMatcher(matcher: StringMatcher): SubjectAltNameMatcher {
  return create(SubjectAltNameMatcherSchema, { sanType: SubjectAltNameMatcher_SanType.URI, matcher });
}

/** The workload's own certificate, the mesh's roots, and who the peer may be. */
export function meshTlsContext(
  mesh: MeshIndex,
  alpnProtocols: readonly string[],
  peers: readonly SubjectAltNameMatcher[],
): CommonTlsContext {
  return create(CommonTlsContextSchema, {
    tlsParams: meshTlsParams(mesh),
    alpnProtocols: [...alpnProtocols],
    tlsCertificateSdsSecretConfigs: [agentSecret(secretName.workload)],
    validationContextType: {
      case: 'combinedValidationContext',
      value: {
        defaultValidationContext: { matchTypedSubjectAltNames: [...peers] },
        validationContextSdsSecretConfig: agentSecret(secretName.root),
      },
    },
  });
}

/** A transport socket `envoy.transport_sockets.tls` of the accepting side. */
export function downstreamTls(context: CommonTlsContext, requireClientCertificate: boolean): TransportSocket {
  return create(TransportSocketSchema, {
    name: transportSocket.tls,
    configType: {
      case: 'typedConfig',
      value: any(DownstreamTlsContextSchema, { commonTlsContext: context, requireClientCertificate }),
    },
  });
}

/** A transport socket `envoy.transport_sockets.tls` of the calling side. */
export function upstreamTls(context: CommonTlsContext, sni: string): TransportSocket {
  return create(TransportSocketSchema, {
    name: transportSocket.tls,
    configType: {
      case: 'typedConfig',
      value: any(UpstreamTlsContextSchema, { commonTlsContext: context, sni }),
    },
  });
}

/** Mutual TLS of inbound chains: any identity of the mesh's trust domains. */
export function inboundMutualTls(mesh: MeshIndex, alpnProtocols: readonly string[]): TransportSocket {
  const peers = trustDomains(mesh).map((domain) => spiffeMatcher(prefixMatch(`spiffe://${domain}/`)));
  return downstreamTls(meshTlsContext(mesh, alpnProtocols, peers), true);
}

/** Plain text. */
export function rawBuffer(): TransportSocket {
  return create(TransportSocketSchema, {
    name: transportSocket.rawBuffer,
    configType: { case: 'typedConfig', value: any(RawBufferSchema) },
  });
}
