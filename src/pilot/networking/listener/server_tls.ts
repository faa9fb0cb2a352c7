/** TLS that a Gateway server, or an ingress listener of a Sidecar, ends with its own certificate. */
import { create } from '@bufbuild/protobuf';
import type { TransportSocket } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
  TlsParameters_TlsProtocol as TlsProtocol,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import { SdsSecretConfigSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { CommonTlsContextSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { alpn } from '#api/well_known.ts';
import type { ServerTLSSettings, TLSProtocol } from '#config/kinds/gateway/types.ts';
import type { MeshIndex } from '../../model/mesh_index.ts';
import { agentSecret, downstreamTls, inboundMutualTls } from '../transport_socket.ts';
import { adsSource, exactMatch } from '../wire.ts';

const versions: Readonly<Record<TLSProtocol, TlsProtocol>> = {
  TLS_AUTO: TlsProtocol.TLS_AUTO,
  TLSV1_0: TlsProtocol.TLSv1_0,
  TLSV1_1: TlsProtocol.TLSv1_1,
  TLSV1_2: TlsProtocol.TLSv1_2,
  TLSV1_3: TlsProtocol.TLSv1_3,
};

function params(tls: ServerTLSSettings) {
  return {
    tlsMinimumProtocolVersion: versions[tls.minProtocolVersion ?? 'TLSV1_2'],
    tlsMaximumProtocolVersion: versions[tls.maxProtocolVersion ?? 'TLS_AUTO'],
    cipherSuites: [...(tls.cipherSuites ?? [])],
  };
}

function file(filename: string) {
  return { specifier: { case: 'filename' as const, value: filename } };
}

/** A certificate of a Secret, from the control plane over ADS. */
function secret(name: string) {
  return create(SdsSecretConfigSchema, { name: `kubernetes://${name}`, sdsConfig: adsSource() });
}

function certificates(tls: ServerTLSSettings) {
  const names = tls.credentialNames ?? (tls.credentialName === undefined ? [] : [tls.credentialName]);
  if (names.length > 0) return { tlsCertificateSdsSecretConfigs: names.map(secret) };
  const files = tls.tlsCertificates ?? [tls];
  return {
    tlsCertificateSdsSecretConfigs: files.flatMap(({ serverCertificate, privateKey }) =>
      serverCertificate === undefined || privateKey === undefined
        ? []
        : agentSecret(`file-cert:${serverCertificate}~${privateKey}`),
    ),
  };
}

/** How certificates of clients are checked; nothing when none is asked for. */
function validation(tls: ServerTLSSettings) {
  if (tls.mode !== 'MUTUAL' && tls.mode !== 'OPTIONAL_MUTUAL') return {};
  const context = {
    matchTypedSubjectAltNames: (tls.subjectAltNames ?? []).flatMap((name) =>
      [SubjectAltNameMatcher_SanType.DNS, SubjectAltNameMatcher_SanType.URI].map((sanType) =>
        create(SubjectAltNameMatcherSchema, { sanType, matcher: exactMatch(name) }),
      ),
    ),
    verifyCertificateSpki: [...(tls.verifyCertificateSpki ?? [])],
    verifyCertificateHash: [...(tls.verifyCertificateHash ?? [])],
  };
  const credential = tls.caCertCredentialName ?? tls.credentialName;
  const roots =
    credential !== undefined
      ? secret(`${credential}-cacert`)
      : tls.caCertificates === undefined
        ? undefined
        : agentSecret(`file-root:${tls.caCertificates}`);
  const defaultValidationContext = {
    ...context,
    ...(tls.caCrl === undefined ? {} : { crl: file(tls.caCrl) }),
  };
  return roots === undefined
    ? { validationContextType: { case: 'validationContext' as const, value: defaultValidationContext } }
    : {
        validationContextType: {
          case: 'combinedValidationContext' as const,
          value: { defaultValidationContext, validationContextSdsSecretConfig: roots },
        },
      };
}

/** The transport socket for settings that end TLS; undefined for those that pass it through. */
export function terminatedTls(tls: ServerTLSSettings, mesh: MeshIndex): TransportSocket | undefined {
  switch (tls.mode ?? 'PASSTHROUGH') {
    case 'PASSTHROUGH':
    case 'AUTO_PASSTHROUGH':
      return undefined;
    case 'ISTIO_MUTUAL':
      return inboundMutualTls(mesh, [alpn.h2, alpn.http11]);
    default: {
      const context = create(CommonTlsContextSchema, {
        tlsParams: params(tls),
        alpnProtocols: [alpn.h2, alpn.http11],
        ...certificates(tls),
        ...validation(tls),
      });
      return downstreamTls(context, tls.mode === 'MUTUAL');
    }
  }
}
