/** Where pods live: network namespaces with captured packets, or plain processes that use the sidecar as their HTTP proxy. */
import type { ChildProcess } from 'node:child_process';
import type { AppPort } from './pod_objects.ts';
import type { PlannedPod } from './workloads.ts';

/** A process to start in a pod. */
export interface ProcessSpec {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** The sidecar has an identity of its own (uid and gid 1337), so that its packets are not captured again. */
  readonly who: 'application' | 'sidecar';
  /** Default: output as pipes, no input. */
  readonly input?: boolean;
}

/** A pod's place in the network. */
export interface PodHost {
  readonly ip: string;
  /** Where the application is to listen for a container port, and what it may be reached at from inside. */
  readonly listenHost: string;
  readonly ports: readonly AppPort[];
  /** Variables that the driver wants in the application's environment (HTTP_PROXY in mode `none`). */
  readonly appEnv: Readonly<Record<string, string>>;
  /** Variables that the driver wants in the sidecar's environment. */
  readonly sidecarEnv: Readonly<Record<string, string>>;
  /** Files of the pod (token, root certificate, podinfo): readable by the sidecar. */
  readonly directory: string;
  start(process: ProcessSpec): ChildProcess;
  /** Adds a port to `ports`: a gateway's Gateway object named a new one. */
  openPort(containerPort: number): Promise<void>;
  /** True when the application listens on the port. */
  isListening(port: AppPort, application: ChildProcess): Promise<boolean>;
  /** Where this process reaches a port of the sidecar (15020, 15021). */
  sidecarAddress(port: number): { readonly host: string; readonly port: number };
  remove(): Promise<void>;
}

/** One judgement of `--check`. */
export interface CheckLine {
  readonly ok: boolean;
  readonly text: string;
}

/** What a driver with captured packets can tell of its rules and of the wire. */
export interface CaptureEvidence {
  /** Starts watching; `markers` must not be seen in plain text between pods. */
  watch(markers: readonly string[]): Promise<{ finish(): Promise<readonly CheckLine[]> }>;
}

export interface HostDriver {
  readonly mode: 'capture' | 'none';
  /** One line for people: which mode runs and why. */
  readonly reason: string;
  /** Where sidecars reach the control plane (15012). */
  readonly controlPlane: { readonly host: string; readonly port: number };
  createPod(pod: PlannedPod): Promise<PodHost>;
  /** Makes a port of a pod reachable on the person's machine; gives `http://localhost:PORT`. */
  publish(host: PodHost, port: number): Promise<string>;
  /** Present when packets are captured. */
  readonly evidence?: CaptureEvidence;
  close(): Promise<void>;
}
