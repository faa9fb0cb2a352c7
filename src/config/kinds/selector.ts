/** The ways in which Istio's objects choose workloads and targets (`istio.type.v1beta1`). */

/** Chooses workloads of the object's namespace by their labels. */
export interface WorkloadSelector {
  /** All of these labels must be present with these values. Absent or empty: all workloads in scope. */
  readonly matchLabels?: Readonly<Record<string, string>>;
}

/** Names one object that a policy is attached to. */
export interface PolicyTargetReference {
  /** API group of the target. Absent: the core group. */
  readonly group?: string;
  /** Kind of the target: `Gateway`, `GatewayClass`, `Service` or `ServiceEntry`. Required. */
  readonly kind: string;
  /** Name of the target, in the namespace of the policy. Required. */
  readonly name: string;
  /** Must stay absent: a target of another namespace is refused. */
  readonly namespace?: string;
}

/** Which side of a call a setting is for. Absent wherever it may stand: both sides. */
export type WorkloadMode = 'CLIENT_AND_SERVER' | 'CLIENT' | 'SERVER';
