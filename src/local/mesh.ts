/** Keeps what runs equal to what the files ask for: starts, replaces and ends pods, and tells the control plane. */
import type { Gateway } from '#config/kinds/gateway/types.ts';
import { createMemoryStore, type MemoryStore } from '#config/store/memory.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { derivedObjects } from './derived_objects.ts';
import type { PodState } from './endpoint_slices.ts';
import type { ChildProcess } from 'node:child_process';
import type { LogLine } from './log_buffer.ts';
import type { HostDriver } from './host_driver.ts';
import { RunningPod, type Commands } from './running_pod.ts';
import { VirtualAddresses } from './virtual_addresses.ts';
import { gatewayPod, planPods, podKey, type PlannedPod } from './workloads.ts';

export interface MeshOptions {
  readonly files: ConfigStore;
  /** All kinds that may stand in the files. */
  readonly kinds: readonly string[];
  readonly driver: HostDriver;
  readonly commands: Commands;
  /** A pod changed its phase, came or went. */
  readonly onChange: () => void;
  readonly onProblem: (message: string) => void;
  readonly onLog: (line: LogLine) => void;
  readonly onProcess?: (child: ChildProcess) => void;
}

/** A port of a gateway, as people reach it. */
export interface PublishedPort {
  readonly gateway: string;
  readonly port: number;
  readonly url: string;
  /** Where this process reaches it. */
  readonly host: string;
  readonly localPort: number;
}

/** How long a pod that was replaced still answers while its peers learn that it goes. */
const retireMs = 1500;

/** When the whole mesh ends nobody is left to be served. */
const endGraceMs = 500;

/** How long an old pod waits for its successor to become ready. */
const rolloutMs = 60_000;

export class Mesh {
  /** What the control plane reads. */
  readonly store: MemoryStore = createMemoryStore();
  readonly #pods = new Map<string, RunningPod>();
  readonly #leaving = new Set<RunningPod>();
  readonly #published = new Map<string, PublishedPort>();
  readonly #addresses = new VirtualAddresses();
  readonly #options: MeshOptions;
  readonly #unsubscribe: () => void;
  readonly #told = new Set<string>();
  #closed = false;
  #changedAt = performance.now();

  constructor(options: MeshOptions) {
    this.#options = options;
    this.#unsubscribe = options.files.subscribe(() => this.reconcile());
  }

  /** Milliseconds since the control plane was last told something new. */
  get quietMs(): number {
    return performance.now() - this.#changedAt;
  }

  /** Pods that run or start, in a stable order. */
  get pods(): readonly RunningPod[] {
    return [...this.#pods.values()].sort((a, b) => podKey(a.pod).localeCompare(podKey(b.pod)));
  }

  get published(): readonly PublishedPort[] {
    return [...this.#published.values()];
  }

  /** Finds a pod by its name, or by a beginning that only one pod has. */
  find(name: string): RunningPod | undefined {
    const exact = this.pods.filter((running) => running.pod.name === name || podKey(running.pod) === name);
    if (exact.length > 0) return exact[0];
    const matches = this.pods.filter((running) => running.pod.name.startsWith(name));
    return matches.length === 1 ? matches[0] : undefined;
  }

  /** Compares what should run with what runs. */
  reconcile(): void {
    if (this.#closed) return;
    const { pods: planned, problems } = planPods(this.#options.files);
    for (const problem of problems) {
      if (this.#told.has(problem)) continue;
      this.#told.add(problem);
      this.#options.onProblem(problem);
    }
    const wanted = new Map<string, PlannedPod>();
    for (const pod of [...planned, ...this.#gateways(planned)]) wanted.set(podKey(pod), pod);
    const started: RunningPod[] = [];
    for (const [key, pod] of wanted) {
      const running = this.#pods.get(key);
      if (running !== undefined && running.pod.hash === pod.hash && running.pod.injected === pod.injected) {
        if (pod.role === 'router') void this.#openPorts(running, pod);
        continue;
      }
      if (running !== undefined) this.#retire(running, []);
      started.push(this.#start(key, pod));
    }
    for (const [key, running] of this.#pods) {
      if (wanted.has(key)) continue;
      this.#pods.delete(key);
      const successors = started.filter(
        ({ pod }) =>
          pod.namespace === running.pod.namespace && pod.workload.name === running.pod.workload.name,
      );
      this.#retire(running, successors);
    }
    this.publish();
  }

  /** Gateway pods that the Gateway objects need, with the ports they open. */
  #gateways(planned: readonly PlannedPod[]): PlannedPod[] {
    const pods = new Map<string, PlannedPod>();
    for (const gateway of this.#options.files.list('Gateway')) {
      const spec = (gateway.body as { readonly spec?: Gateway }).spec;
      const selector = spec?.selector ?? {};
      const answered = planned.some((pod) =>
        Object.entries(selector).every(([key, value]) => pod.labels[key] === value),
      );
      if (answered || spec === undefined) continue;
      const pod = gatewayPod(selector);
      const key = `${podKey(pod)} ${pod.hash}`;
      const known = pods.get(key) ?? pod;
      const numbers = new Set(known.containers[0]?.ports?.map((port) => port.containerPort));
      for (const server of spec.servers ?? []) {
        if (server.port?.number !== undefined) numbers.add(server.port.number);
      }
      const ports = [...numbers].sort((a, b) => a - b).map((containerPort) => ({ containerPort }));
      const name = pods.size === 0 || pods.has(key) ? known.name : `${pod.name}-${pod.hash}`;
      pods.set(key, {
        ...known,
        name,
        hash: `${pod.hash} ${[...numbers].join(' ')}`,
        containers: [{ name: 'ports', ports }],
      });
    }
    return [...pods.values()];
  }

  /** A Gateway object may name a new port at any time: the pod that runs opens it. */
  async #openPorts(running: RunningPod, planned: PlannedPod): Promise<void> {
    const { host } = running;
    if (host === undefined) return;
    for (const { containerPort } of planned.containers[0]?.ports ?? []) {
      if (!host.ports.some((port) => port.containerPort === containerPort))
        await host.openPort(containerPort);
    }
    this.publish();
  }

  #start(key: string, pod: PlannedPod): RunningPod {
    const running = new RunningPod({
      pod,
      driver: this.#options.driver,
      commands: this.#options.commands,
      store: this.#options.files,
      onChange: () => this.publish(),
      onProblem: this.#options.onProblem,
      ...(this.#options.onProcess === undefined ? {} : { onProcess: this.#options.onProcess }),
    });
    running.logs.subscribe(this.#options.onLog);
    this.#pods.set(key, running);
    running.start().catch((error: unknown) => {
      this.#options.onProblem(`${key}: ${error instanceof Error ? error.message : String(error)}`);
    });
    return running;
  }

  /** Ends a pod without losing a request: successors first, then out of the endpoints, then the processes. */
  #retire(running: RunningPod, successors: readonly RunningPod[]): void {
    this.#leaving.add(running);
    const deadline = performance.now() + rolloutMs;
    const leave = async (): Promise<void> => {
      while (successors.some(({ ready }) => !ready) && performance.now() < deadline && !this.#closed) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      running.retire();
      this.publish();
      if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, retireMs));
      await running.stop();
      this.#leaving.delete(running);
      this.publish();
    };
    leave().catch((error: unknown) => this.#options.onProblem(`${podKey(running.pod)}: ${String(error)}`));
  }

  #states(): PodState[] {
    const states: PodState[] = [];
    for (const running of [...this.#pods.values(), ...this.#leaving]) {
      const { host, pod, phase, ready, ports } = running;
      // a pod that leaves keeps its identity until it is gone, but is no endpoint any more
      if (host !== undefined) states.push({ pod, ip: host.ip, ready: ready && phase !== 'stopping', ports });
    }
    return states;
  }

  /** Tells the control plane what is there now. */
  publish(): void {
    const { files, kinds, driver } = this.#options;
    const objects = derivedObjects({
      files,
      kinds,
      pods: this.#states(),
      addresses: this.#addresses,
      captured: driver.mode === 'capture',
    });
    if (this.store.replaceAll(objects).length > 0) this.#changedAt = performance.now();
    void this.#publishGateways();
    this.#options.onChange();
  }

  async #publishGateways(): Promise<void> {
    for (const { pod, host } of this.#pods.values()) {
      if (pod.role !== 'router' || host === undefined) continue;
      for (const port of host.ports) {
        const key = `${podKey(pod)} ${port.containerPort}`;
        if (this.#published.has(key)) continue;
        const entry = {
          gateway: pod.name,
          port: port.containerPort,
          host: host.ip,
          localPort: port.dialPort,
        };
        this.#published.set(key, { ...entry, url: '' });
        try {
          this.#published.set(key, {
            ...entry,
            url: await this.#options.driver.publish(host, port.dialPort),
          });
          this.#options.onChange();
        } catch (error) {
          this.#published.delete(key);
          this.#options.onProblem(`port ${port.containerPort} cannot be published: ${String(error)}`);
        }
      }
    }
  }

  /** Ends all pods. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    await Promise.allSettled(
      [...this.#pods.values(), ...this.#leaving].map((running) => running.stop(endGraceMs)),
    );
  }
}
