/** One running pod: its place in the network, its sidecar and its applications, and whether it is ready. */
import type { ChildProcess } from 'node:child_process';
import { get } from 'node:http';
import type { Container, Probe } from '#config/kinds/kubernetes/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { containerEnvironment } from './environment.ts';
import type { HostDriver, PodHost } from './host_driver.ts';
import { LogBuffer } from './log_buffer.ts';
import type { AppPort } from './pod_objects.ts';
import { ports as sidecarPorts } from './sidecar_ports.ts';
import { SupervisedProcess } from './supervised_process.ts';
import { podKey, type PlannedPod } from './workloads.ts';

/** Starts the processes of a pod: what differs between an application and a sidecar. */
export interface Commands {
  /** Undefined when no command is known for the image. */
  application(
    container: Container,
    variables: { readonly HOST: string; readonly PORT: string },
  ): { command: string[]; env: Record<string, string>; cwd: string } | undefined;
  sidecar(pod: PlannedPod, host: PodHost): { command: string[]; env: Record<string, string>; cwd: string };
}

export type PodPhase =
  | 'starting'
  | 'waiting for its sidecar'
  | 'waiting for the application'
  | 'ready'
  | 'failing'
  | 'stopping';

export interface RunningPodOptions {
  readonly pod: PlannedPod;
  readonly driver: HostDriver;
  readonly commands: Commands;
  readonly store: ConfigStore;
  readonly onChange: () => void;
  readonly onProblem: (message: string) => void;
  /** Hears of each process that is started. */
  readonly onProcess?: (child: ChildProcess) => void;
}

/** How often readiness is asked while a pod starts, and afterwards. */
const startingPollMs = 50;
const readyPollMs = 1000;

export class RunningPod {
  readonly pod: PlannedPod;
  readonly logs = new LogBuffer();
  phase: PodPhase = 'starting';
  host: PodHost | undefined;
  #sidecar: SupervisedProcess | undefined;
  readonly #applications: SupervisedProcess[] = [];
  readonly #options: RunningPodOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: RunningPodOptions) {
    this.#options = options;
    this.pod = options.pod;
  }

  get ready(): boolean {
    return this.phase === 'ready';
  }

  get restarts(): number {
    return [this.#sidecar, ...this.#applications].reduce((sum, process) => sum + (process?.restarts ?? 0), 0);
  }

  get ports(): readonly AppPort[] {
    return this.host?.ports ?? [];
  }

  /** Process ids of the applications, for looking into their namespaces. */
  get applicationPid(): number | undefined {
    return this.#applications[0]?.child?.pid;
  }

  get sidecarPid(): number | undefined {
    return this.#sidecar?.child?.pid;
  }

  async start(): Promise<void> {
    const { driver, commands, onChange } = this.#options;
    const host = await driver.createPod(this.pod);
    if (this.#stopped) {
      await host.remove();
      return;
    }
    this.host = host;
    onChange();
    if (this.pod.injected) {
      const { command, env, cwd } = commands.sidecar(this.pod, host);
      this.#sidecar = this.#supervise('istio-proxy', () => host.start({ command, env, cwd, who: 'sidecar' }));
      this.#set('waiting for its sidecar');
      // the application starts when its sidecar can carry its first call (holdApplicationUntilProxyStarts)
      while (!this.#stopped && !(await this.#sidecarReady())) await this.#pause(startingPollMs);
    }
    if (this.#stopped) return;
    if (this.pod.role === 'sidecar') this.#startApplications(host);
    this.#set('waiting for the application');
    void this.#watchReadiness();
  }

  #startApplications(host: PodHost): void {
    const { commands, store, onProblem } = this.#options;
    for (const container of this.pod.containers) {
      const port = container.ports?.[0]?.containerPort;
      const listen = host.ports.find((candidate) => candidate.containerPort === port);
      const app = commands.application(container, {
        HOST: host.listenHost,
        PORT: listen === undefined ? '' : String(listen.listenPort),
      });
      if (app === undefined) {
        onProblem(
          `${podKey(this.pod)}: no command for image ${container.image ?? ''}: name it in trysail.yaml`,
        );
        continue;
      }
      const env = {
        ...app.env,
        ...containerEnvironment(container, this.pod, host.ip, store),
        ...host.appEnv,
      };
      this.#applications.push(
        this.#supervise(container.name, () =>
          host.start({ command: app.command, env, cwd: app.cwd, who: 'application' }),
        ),
      );
    }
  }

  #supervise(name: string, start: () => ReturnType<PodHost['start']>): SupervisedProcess {
    const key = podKey(this.pod);
    return new SupervisedProcess({
      start,
      onLine: (text, stream) => this.logs.push({ pod: this.pod.name, source: name, stream, text }),
      onStart: (child) => this.#options.onProcess?.(child),
      onExit: (reason, waitMs) => {
        this.#options.onProblem(
          `${key}: ${name} ended (${reason}); starting it again in ${(waitMs / 1000).toFixed(1)} s${this.#lastWords(name)}`,
        );
        this.#set('failing');
      },
    });
  }

  /** The last line that a process wrote to standard error, for the message that it ended. */
  #lastWords(name: string): string {
    const line = this.logs.lines.findLast(({ source, stream }) => source === name && stream === 'stderr');
    return line === undefined ? '' : `\n  ${line.text}`;
  }

  async #watchReadiness(): Promise<void> {
    while (!this.#stopped) {
      const up = (!this.pod.injected || (await this.#sidecarReady())) && (await this.#applicationReady());
      if (this.#stopped) return;
      if (up) this.#set('ready');
      else if (this.phase === 'ready') this.#set('waiting for the application');
      await this.#pause(this.phase === 'ready' ? readyPollMs : startingPollMs);
    }
  }

  #sidecarReady(): Promise<boolean> {
    const address = this.host?.sidecarAddress(sidecarPorts.health);
    return address === undefined
      ? Promise.resolve(false)
      : httpOk(address.host, address.port, '/healthz/ready');
  }

  async #applicationReady(): Promise<boolean> {
    const { host } = this;
    const child = this.#applications[0]?.child;
    if (this.pod.role === 'router') return true;
    if (host === undefined || this.#applications.some((process) => process.child === undefined)) return false;
    if (child === undefined) return this.#applications.length === 0 && this.pod.containers.length === 0;
    for (const port of host.ports) if (!(await host.isListening(port, child))) return false;
    const probe = this.pod.containers.find(
      (container) => container.readinessProbe !== undefined,
    )?.readinessProbe;
    return probe === undefined || this.#options.driver.mode === 'capture' || this.#probe(probe, host);
  }

  /** Runs an httpGet probe against the application itself; other kinds are met by listening. */
  #probe(probe: Probe, host: PodHost): Promise<boolean> {
    const { httpGet } = probe;
    if (httpGet === undefined) return Promise.resolve(true);
    const port = host.ports.find(
      ({ name, containerPort }) => name === httpGet.port || containerPort === httpGet.port,
    );
    return port === undefined
      ? Promise.resolve(true)
      : httpOk(host.listenHost, port.listenPort, httpGet.path ?? '/');
  }

  #set(phase: PodPhase): void {
    if (this.phase === phase || (this.phase === 'stopping' && phase !== 'stopping')) return;
    this.phase = phase;
    this.#options.onChange();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, ms);
    });
  }

  /** Marks the pod as leaving: it gets no new connections. */
  retire(): void {
    this.#set('stopping');
  }

  /**
   * Applications first, so that their last calls still find a sidecar.
   * @param graceMs from SIGTERM to SIGKILL, default 5000
   */
  async stop(graceMs?: number): Promise<void> {
    this.#stopped = true;
    this.retire();
    clearTimeout(this.#timer);
    await Promise.all(this.#applications.map((process) => process.stop(graceMs)));
    await this.#sidecar?.stop(graceMs);
    await this.host?.remove();
  }
}

/** True for an answer 200 within a second. */
export function httpOk(host: string, port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host, port, path, timeout: 1000, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}
