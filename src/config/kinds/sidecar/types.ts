/** Sidecar (networking.istio.io/v1): what a sidecar listens on and which services it knows. */
import type { ConnectionPoolSettings } from '../destination_rule/types.ts';
import type { ServerTLSSettings } from '../gateway/types.ts';
import type { Destination } from '../virtual_service/types.ts';

/** `spec` of a Sidecar. */
export interface Sidecar {
  /** Absent: all workloads of the namespace; in the root namespace, the default of the mesh. */
  readonly workloadSelector?: SidecarWorkloadSelector;
  /** Inbound listeners. Absent: made from the ports of the pod and its services. */
  readonly ingress?: readonly IstioIngressListener[];
  /** Outbound listeners. Absent: inherited from the default Sidecar, or all services. */
  readonly egress?: readonly IstioEgressListener[];
  /** Limits of inbound connections. Absent: none. */
  readonly inboundConnectionPool?: ConnectionPoolSettings;
  /** Traffic to unknown services. Absent: the mesh's outboundTrafficPolicy. */
  readonly outboundTrafficPolicy?: SidecarOutboundTrafficPolicy;
}

/** Labels of pods (`istio.networking.v1alpha3.WorkloadSelector`; its field is `labels`, not `matchLabels`). */
export interface SidecarWorkloadSelector {
  readonly labels?: Readonly<Record<string, string>>;
}

/** DEFAULT is as the environment captures, IPTABLES by redirection, NONE a listener that callers address. */
export type CaptureMode = 'DEFAULT' | 'IPTABLES' | 'NONE';

/** A port. */
export interface SidecarPort {
  /** 1 to 65535; 0 only for egress on a Unix socket. */
  readonly number?: number;
  /** HTTP, HTTPS, HTTP2, GRPC, TLS, TCP, MONGO. */
  readonly protocol?: string;
  readonly name?: string;
  /** Deprecated; ignored. */
  readonly targetPort?: number;
}

/** One inbound listener. */
export interface IstioIngressListener {
  /** Required; unique. */
  readonly port?: SidecarPort;
  /** IPv4 or IPv6 address. Absent: all, or the pod's as capture needs. */
  readonly bind?: string;
  /** Absent: DEFAULT. */
  readonly captureMode?: CaptureMode;
  /** `127.0.0.1:port`, `[::1]:port`, `0.0.0.0:port`, `[::]:port` or `unix:///path`. Absent: the same port of the pod. */
  readonly defaultEndpoint?: string;
  /** Terminates TLS here when mutual TLS is off for the port. */
  readonly tls?: ServerTLSSettings;
  /** Replaces inboundConnectionPool for this port. */
  readonly connectionPool?: ConnectionPoolSettings;
}

/** One outbound listener. */
export interface IstioEgressListener {
  /** Absent: every port of the imported services; only the last listener may leave it out. */
  readonly port?: SidecarPort;
  /** Address or `unix:///path` (`unix://@name`). Absent: as the service's addresses say. */
  readonly bind?: string;
  /** Absent: DEFAULT. */
  readonly captureMode?: CaptureMode;
  /** `namespace/host`: `*` any, `.` own, `~` none; the host may be a wildcard. Required. */
  readonly hosts?: readonly string[];
}

/** Traffic to unknown services. */
export interface SidecarOutboundTrafficPolicy {
  /** Absent: REGISTRY_ONLY, as the zero value of the field. */
  readonly mode?: 'REGISTRY_ONLY' | 'ALLOW_ANY';
  /** Unknown traffic goes to this service; only with ALLOW_ANY. */
  readonly egressProxy?: Destination;
}
