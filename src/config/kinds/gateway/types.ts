/** Gateway (networking.istio.io/v1): the ports, hosts and certificates of proxies at the edge. */

/** `spec` of a Gateway. */
export interface Gateway {
  /** Listening sockets. At least one. */
  readonly servers?: readonly Server[];
  /** Labels of the pods that carry the gateway, in any namespace. Absent: all. */
  readonly selector?: Readonly<Record<string, string>>;
}

/** One listening socket. */
export interface Server {
  /** Required. */
  readonly port?: Port;
  /** Address to listen on. Absent: all. */
  readonly bind?: string;
  /** Hosts, each with an optional `namespace/` in front (`*`, `.`, or a name). Required. */
  readonly hosts?: readonly string[];
  /** Needed for HTTPS and TLS. Absent: plain text. */
  readonly tls?: ServerTLSSettings;
  /** Not implemented by Istio for gateways. */
  readonly defaultEndpoint?: string;
  /** Unique in the gateway. */
  readonly name?: string;
}

/** Port of a server. */
export interface Port {
  /** 1 to 65535. Required. */
  readonly number?: number;
  /** HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP or MONGO. Required. */
  readonly protocol?: string;
  /** A label; unique for the number. Required. */
  readonly name?: string;
  /** Deprecated; ignored. */
  readonly targetPort?: number;
}

export type ServerTLSMode =
  | 'PASSTHROUGH'
  | 'SIMPLE'
  | 'MUTUAL'
  | 'AUTO_PASSTHROUGH'
  | 'ISTIO_MUTUAL'
  | 'OPTIONAL_MUTUAL';

export type TLSProtocol = 'TLS_AUTO' | 'TLSV1_0' | 'TLSV1_1' | 'TLSV1_2' | 'TLSV1_3';

/** TLS of a listening socket. */
export interface ServerTLSSettings {
  /** Answers every plain request with a redirect to HTTPS. Absent: false. */
  readonly httpsRedirect?: boolean;
  /** Absent: PASSTHROUGH. */
  readonly mode?: ServerTLSMode;
  /** File of the certificate; needed by SIMPLE and MUTUAL without a credential. */
  readonly serverCertificate?: string;
  /** File of its key. */
  readonly privateKey?: string;
  /** File of the roots for clients; needed by MUTUAL without a credential. */
  readonly caCertificates?: string;
  /** File of revoked certificates. */
  readonly caCrl?: string;
  /** Name of a Secret in the gateway's namespace, in place of files. */
  readonly credentialName?: string;
  /** Several certificates (RSA and ECDSA), at most two; not with credentialName. */
  readonly credentialNames?: readonly string[];
  /** Secret or ConfigMap with the roots for clients. Absent: those of the credential. */
  readonly caCertCredentialName?: string;
  /** Several certificates by file, at most two. */
  readonly tlsCertificates?: readonly TLSCertificate[];
  /** Names that the client's certificate may have. Absent: any. */
  readonly subjectAltNames?: readonly string[];
  /** Base64 SHA-256 of allowed public keys. */
  readonly verifyCertificateSpki?: readonly string[];
  /** Hex SHA-256 of allowed certificates. */
  readonly verifyCertificateHash?: readonly string[];
  /** Absent: TLS 1.2. */
  readonly minProtocolVersion?: TLSProtocol;
  /** Absent: TLS 1.3. */
  readonly maxProtocolVersion?: TLSProtocol;
  /** Names of TLS 1.2 suites. Absent: Envoy's default list. */
  readonly cipherSuites?: readonly string[];
  /** Accepts client certificates that do not verify. Absent: false. */
  readonly insecureSkipVerify?: boolean;
}

/** One certificate by file. */
export interface TLSCertificate {
  readonly serverCertificate?: string;
  readonly privateKey?: string;
  readonly caCertificates?: string;
}
