/** Pod and its parts (`k8s.io/api/core/v1`), with the fields that injection reads or writes; others pass through. */
import type { Json } from './shape.ts';

/** `EnvVar`. */
export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly resourceFieldRef?: { readonly resource: string; readonly divisor?: string };
  };
}

/** `ContainerPort`. */
export interface ContainerPort {
  readonly containerPort: number;
  readonly name?: string;
  readonly protocol?: string;
}

/** `HTTPGetAction`. */
export interface HttpGetAction {
  readonly path?: string;
  readonly port: number | string;
  readonly host?: string;
  readonly scheme?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
}

/** What a probe or a lifecycle hook does; one of them. */
export interface Action {
  readonly exec?: { readonly command?: readonly string[] };
  readonly httpGet?: HttpGetAction;
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number; readonly service?: string };
}

/** `Probe`. */
export interface Probe extends Action {
  readonly initialDelaySeconds?: number;
  readonly timeoutSeconds?: number;
  readonly periodSeconds?: number;
  readonly successThreshold?: number;
  readonly failureThreshold?: number;
}

/** `Lifecycle`. */
export interface Lifecycle {
  readonly postStart?: Action;
  readonly preStop?: Action;
}

/** `SecurityContext`. */
export interface SecurityContext {
  readonly allowPrivilegeEscalation?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  readonly privileged?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly runAsGroup?: number;
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly seccompProfile?: Json;
}

/** `ResourceRequirements`: quantities by resource. */
export interface ResourceRequirements {
  readonly limits?: Readonly<Record<string, string | number | null>>;
  readonly requests?: Readonly<Record<string, string | number | null>>;
}

/** `VolumeMount`. */
export interface VolumeMount {
  readonly mountPath: string;
  readonly name: string;
  readonly readOnly?: boolean;
}

/** `Container`. */
export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly imagePullPolicy?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly EnvVar[];
  readonly ports?: readonly ContainerPort[];
  readonly resources?: ResourceRequirements;
  readonly restartPolicy?: string;
  readonly securityContext?: SecurityContext;
  readonly volumeMounts?: readonly VolumeMount[];
  readonly lifecycle?: Lifecycle;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly startupProbe?: Probe;
}

/** `Volume`: a name, and one source. */
export interface Volume {
  readonly name: string;
  readonly [source: string]: unknown;
}

/** `OwnerReference`. */
export interface OwnerReference {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly controller?: boolean;
}

/** `ObjectMeta`. */
export interface ObjectMeta {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

/** `PodSpec`. */
export interface PodSpec {
  readonly containers?: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly imagePullSecrets?: readonly { readonly name?: string }[];
  readonly securityContext?: {
    readonly fsGroup?: number;
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
  };
  readonly dnsConfig?: { readonly searches?: readonly string[] };
  readonly hostNetwork?: boolean;
  readonly serviceAccountName?: string;
}

/** `Pod`. */
export interface Pod {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
  readonly spec?: PodSpec;
}

/** Part of a pod that is laid over it; null takes a field away. */
export interface PodOverlay {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: PodSpec;
}
