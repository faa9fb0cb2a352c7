/** What the mesh reads of Kubernetes' own kinds. Each interface is the body: all that stands beside the metadata. */
import type { LabelSelector } from '../../mesh_config/types.ts';

/** Body of a Service (v1). */
export interface ServiceBody {
  readonly spec?: ServiceSpec;
  readonly status?: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[];
    };
  };
}

/** `spec` of a Service. */
export interface ServiceSpec {
  /** Absent: ClusterIP. */
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** Virtual address; `None` is a headless service. Absent: allocated. */
  readonly clusterIP?: string;
  readonly clusterIPs?: readonly string[];
  readonly ports?: readonly ServiceSpecPort[];
  /** Labels of the pods. Absent: endpoints are kept by hand. */
  readonly selector?: Readonly<Record<string, string>>;
  readonly externalName?: string;
  readonly externalIPs?: readonly string[];
  readonly publishNotReadyAddresses?: boolean;
  readonly sessionAffinity?: 'None' | 'ClientIP';
  readonly internalTrafficPolicy?: 'Cluster' | 'Local';
  readonly externalTrafficPolicy?: 'Cluster' | 'Local';
  readonly trafficDistribution?: string;
  readonly ipFamilies?: readonly string[];
  readonly ipFamilyPolicy?: string;
}

/** A port of a Service. */
export interface ServiceSpecPort {
  /** Istio reads the protocol from it: `http`, `grpc-web`. Absent with a single port only. */
  readonly name?: string;
  /** 1 to 65535. */
  readonly port: number;
  /** Number, or name of a container port. Absent: port. */
  readonly targetPort?: number | string;
  /** Absent: TCP. */
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  /** Beats the name as the protocol's source. */
  readonly appProtocol?: string;
  readonly nodePort?: number;
}

/** Body of a Pod (v1). */
export interface PodBody {
  readonly spec?: PodSpec;
  readonly status?: PodStatus;
}

/** `status` of a Pod. */
export interface PodStatus {
  readonly phase?: string;
  readonly podIP?: string;
  readonly podIPs?: readonly { readonly ip: string }[];
  readonly hostIP?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
}

/** `spec` of a pod. */
export interface PodSpec {
  readonly containers?: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly (Readonly<Record<string, unknown>> & { readonly name: string })[];
  /** Absent: `default`. */
  readonly serviceAccountName?: string;
  readonly nodeName?: string;
  readonly hostNetwork?: boolean;
  readonly hostname?: string;
  readonly subdomain?: string;
  readonly restartPolicy?: string;
  /** Seconds from SIGTERM to SIGKILL. Absent: 30. */
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: SecurityContext;
  readonly dnsPolicy?: string;
}

/** Identity of processes. */
export interface SecurityContext {
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly runAsNonRoot?: boolean;
  readonly fsGroup?: number;
}

/** A container. */
export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly EnvVar[];
  readonly ports?: readonly ContainerPort[];
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly startupProbe?: Probe;
  readonly resources?: {
    readonly limits?: Readonly<Record<string, string | number>>;
    readonly requests?: Readonly<Record<string, string | number>>;
  };
  readonly securityContext?: SecurityContext;
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
    readonly subPath?: string;
  }[];
  readonly restartPolicy?: string;
}

/** An environment variable. */
export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly configMapKeyRef?: { readonly name?: string; readonly key: string; readonly optional?: boolean };
    readonly secretKeyRef?: { readonly name?: string; readonly key: string; readonly optional?: boolean };
  };
}

/** A port that a container listens on. */
export interface ContainerPort {
  readonly containerPort: number;
  readonly name?: string;
  /** Absent: TCP. */
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly hostPort?: number;
}

/** A probe; one method. */
export interface Probe {
  readonly httpGet?: {
    readonly path?: string;
    readonly port: number | string;
    readonly host?: string;
    readonly scheme?: string;
    readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
  };
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number; readonly service?: string };
  readonly exec?: { readonly command?: readonly string[] };
  readonly initialDelaySeconds?: number;
  readonly timeoutSeconds?: number;
  readonly periodSeconds?: number;
  readonly successThreshold?: number;
  readonly failureThreshold?: number;
}

/** Body of a Deployment, StatefulSet, DaemonSet or ReplicaSet (apps/v1). */
export interface WorkloadBody {
  readonly spec?: WorkloadSpec;
}

/** `spec` of a Deployment, StatefulSet, DaemonSet or ReplicaSet. */
export interface WorkloadSpec {
  /** Absent: 1. Not of a DaemonSet. */
  readonly replicas?: number;
  /** Required; must match the labels of the template. */
  readonly selector?: LabelSelector;
  /** Required. */
  readonly template?: PodTemplateSpec;
  /** Of a StatefulSet: the headless service of its pods. */
  readonly serviceName?: string;
}

/** Pods that a workload makes. */
export interface PodTemplateSpec {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: PodSpec;
}

/** Body of a ConfigMap (v1). */
export interface ConfigMapBody {
  readonly data?: Readonly<Record<string, string>>;
  /** Base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** Body of a Secret (v1). Never logged. */
export interface SecretBody {
  readonly type?: string;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

/** Body of Endpoints (v1). */
export interface EndpointsBody {
  readonly subsets?: readonly {
    readonly addresses?: readonly EndpointsAddress[];
    readonly notReadyAddresses?: readonly EndpointsAddress[];
    readonly ports?: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[];
  }[];
}

/** An address of Endpoints. */
export interface EndpointsAddress {
  readonly ip: string;
  readonly hostname?: string;
  readonly nodeName?: string;
  readonly targetRef?: ObjectReference;
}

/** Names another object. */
export interface ObjectReference {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** Body of an EndpointSlice (discovery.k8s.io/v1); its service is label `kubernetes.io/service-name`. */
export interface EndpointSliceBody {
  readonly addressType?: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    /** Absent ready means ready. */
    readonly conditions?: {
      readonly ready?: boolean;
      readonly serving?: boolean;
      readonly terminating?: boolean;
    };
    readonly hostname?: string;
    readonly nodeName?: string;
    readonly zone?: string;
    readonly targetRef?: ObjectReference;
  }[];
  readonly ports?: readonly {
    readonly name?: string;
    readonly port?: number;
    readonly protocol?: string;
    readonly appProtocol?: string;
  }[];
}

/** Body of a Namespace (v1): only its labels and annotations are read. */
export interface NamespaceBody {
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** Body of a ServiceAccount (v1): only its name is read. */
export interface ServiceAccountBody {
  readonly automountServiceAccountToken?: boolean;
}

/** Body of a Node (v1): its labels `topology.kubernetes.io/region` and `zone`, and its addresses, are read. */
export interface NodeBody {
  readonly status?: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
    readonly nodeInfo?: { readonly kubeletVersion?: string };
  };
}
