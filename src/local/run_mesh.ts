/** A running mesh on one machine: control plane, pods, screen and control socket put together. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Logger } from '#base/log.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { jwtAuthenticator } from '#security/authn/jwt_authenticator.ts';
import { TokenIssuer } from '#security/authn/token_issuer.ts';
import { formatSpiffe } from '#security/spiffe.ts';
import { startDiscovery, type Discovery } from '#pilot/bootstrap/discovery.ts';
import type { AppCommands } from './app_commands.ts';
import { serveControl, type ControlHandler, type MeshStatus } from './control.ts';
import { entryPath } from './entry_path.ts';
import type { HostDriver, PodHost } from './host_driver.ts';
import { Mesh } from './mesh.ts';
import { fetchPage, parseRequests, type RequestCount } from './request_stats.ts';
import type { CaptureEvidence } from './host_driver.ts';
import type { RunningPod } from './running_pod.ts';
import { sidecarCommand, writePodFiles, writeToken, type SidecarSettings } from './sidecar_command.ts';
import { ports as sidecarPorts } from './sidecar_ports.ts';
import type { StateDirectories } from './state_directory.ts';
import type { LogLine } from './log_buffer.ts';
import type { TrafficTarget } from './traffic.ts';
import { podKey, type PlannedPod } from './workloads.ts';

/** Changes are pushed after the debounce time (100 ms, merged up to 10 s); longer quiet means that nothing is on its way. */
const settleMs = 600;

/** A token is written anew this often; it lives for 12 h. */
const tokenRenewMs = 3_600_000;

export interface RunMeshOptions {
  readonly files: ConfigStore;
  readonly kinds: readonly string[];
  /** Problems of the files that stand now. */
  readonly fileProblems: () => readonly string[];
  readonly apps: AppCommands;
  readonly driver: HostDriver;
  readonly directories: StateDirectories;
  /** Addresses on which the control plane's TLS port listens. */
  readonly discovery: { readonly address: string; readonly port: number };
  readonly sidecars: Omit<SidecarSettings, 'driver' | 'rootCertificate' | 'trustDomain'>;
  readonly trustDomain: string;
  readonly log: Logger;
  readonly onChange: () => void;
  readonly onProblem: (message: string) => void;
  readonly onLog: (line: LogLine) => void;
  readonly onProcess?: (child: ChildProcess) => void;
  /** `trysail down` was said. */
  readonly onDown: () => void;
}

export interface RunningMesh {
  readonly mesh: Mesh;
  readonly discovery: Discovery;
  status(): MeshStatus;
  /** True when every pod is ready and every sidecar has what the control plane last sent. */
  settled(): boolean;
  /** The first published gateway port and the path to ask there. */
  target(): TrafficTarget | undefined;
  /** Present when packets are captured. */
  readonly evidence: CaptureEvidence | undefined;
  /** What the servers' sidecars counted so far, and the pods whose sidecars did not tell. */
  counts(): Promise<{ readonly counts: RequestCount[]; readonly unread: readonly string[] }>;
  close(): Promise<void>;
}

/** Longest wait for each part to close. */
const closeMs = 3000;

/** Resolves with the work, or when the time is over. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([work, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}

export async function runMesh(options: RunMeshOptions): Promise<RunningMesh> {
  const { driver, directories, trustDomain } = options;
  const issuer = await TokenIssuer.open({ keyFile: join(directories.keep, 'token-key.pem') });
  const timers = new Set<NodeJS.Timeout>();
  let settings: SidecarSettings | undefined;

  const mesh = new Mesh({
    files: options.files,
    kinds: options.kinds,
    driver: {
      ...driver,
      // the token must be there when the sidecar starts
      createPod: async (pod: PlannedPod): Promise<PodHost> => {
        const host = await driver.createPod(pod);
        if (pod.injected) await writeToken(pod, host, issuer, options.sidecars.own);
        return host;
      },
    },
    commands: {
      application: (container, variables) => options.apps.find(container, variables),
      sidecar: (pod, host) => {
        if (settings === undefined) throw new Error('the control plane has not started');
        writePodFiles(pod, host, settings);
        return sidecarCommand(pod, host, settings);
      },
    },
    onChange: options.onChange,
    onProblem: options.onProblem,
    onLog: options.onLog,
    ...(options.onProcess === undefined ? {} : { onProcess: options.onProcess }),
  });

  const discovery = await startDiscovery({
    store: mesh.store,
    secure: {
      address: options.discovery.address,
      port: options.discovery.port,
      extraNames: [driver.controlPlane.host],
    },
    caDirectory: join(directories.keep, 'ca'),
    trustDomain,
    authenticators: [
      jwtAuthenticator({
        trustDomain,
        issuers: [issuer.issuer],
        audiences: [issuer.audience],
        keys: { kind: 'key', publicKey: issuer.publicKey },
      }),
    ],
    log: options.log,
  });
  discovery.subscribe(options.onChange);
  settings = { ...options.sidecars, driver, trustDomain, rootCertificate: discovery.rootCertificatePem };

  const renew = setInterval(() => {
    for (const { pod, host } of mesh.pods) {
      if (host !== undefined && pod.injected) {
        writeToken(pod, host, issuer, options.sidecars.own).catch((error: unknown) =>
          options.onProblem(`${podKey(pod)}: the token cannot be renewed: ${String(error)}`),
        );
      }
    }
  }, tokenRenewMs);
  timers.add(renew);

  function xdsState(running: RunningPod): string {
    if (!running.pod.injected) return '';
    const id = `${running.pod.name}.${running.pod.namespace}`;
    return discovery.proxyStatus(id)?.summary ?? 'NOT SENT';
  }

  function status(): MeshStatus {
    const path = entryPath(options.files);
    return {
      mode: driver.mode,
      reason: driver.reason,
      urls: mesh.published.filter(({ url }) => url !== '').map(({ url }) => url + path),
      pods: mesh.pods.map((running) => ({
        name: running.pod.name,
        namespace: running.pod.namespace,
        version: running.pod.labels['version'] ?? '-',
        address: running.host?.ip ?? '-',
        identity: running.pod.injected
          ? formatSpiffe({
              trustDomain,
              namespace: running.pod.namespace,
              serviceAccount: running.pod.serviceAccount,
            })
          : '',
        phase: running.phase,
        xds: xdsState(running),
        restarts: running.restarts,
      })),
      problems: options.fileProblems(),
      settled: settled(),
    };
  }

  const settled = (): boolean =>
    mesh.pods.length > 0 &&
    mesh.quietMs > settleMs &&
    discovery.progress().live === discovery.progress().total &&
    mesh.pods.every(
      (running) => running.ready && (!running.pod.injected || xdsState(running) === 'SYNCED'),
    ) &&
    mesh.published.every(({ url }) => url !== '');

  const handler: ControlHandler = {
    status,
    logs(name, source, onLine, follow) {
      const running = mesh.find(name);
      if (running === undefined) return undefined;
      const wanted = (line: LogLine): boolean => source === undefined || line.source === source;
      for (const line of running.logs.lines) if (wanted(line)) onLine(line);
      return follow ? running.logs.subscribe((line) => wanted(line) && onLine(line)) : () => {};
    },
    execute(name, command) {
      const running = mesh.find(name);
      const host = running?.host;
      if (running === undefined || host === undefined) return undefined;
      return host.start({
        command,
        env: { ...options.sidecars.baseEnvironment, ...host.appEnv },
        cwd: options.sidecars.packageRoot,
        who: 'application',
        input: true,
      });
    },
    down: options.onDown,
  };
  const control = await serveControl(directories.controlSocket, handler);
  mesh.reconcile();

  return {
    mesh,
    discovery,
    status,
    evidence: driver.evidence,
    settled,
    target() {
      const published = mesh.published.find(({ url }) => url !== '');
      if (published === undefined) return undefined;
      return { host: published.host, port: published.localPort, path: entryPath(options.files) };
    },
    async counts() {
      const readings = await Promise.all(
        mesh.pods.flatMap(({ pod, host }) => {
          if (!pod.injected || host === undefined) return [];
          const address = host.sidecarAddress(sidecarPorts.status);
          return [fetchPage(address.host, address.port).then((page) => ({ pod, page }))];
        }),
      );
      const unread = readings.filter(({ page }) => page === undefined).map(({ pod }) => pod.name);
      return {
        counts: readings.flatMap(({ page }) => (page === undefined ? [] : parseRequests(page))),
        unread,
      };
    },
    async close() {
      for (const timer of timers) clearInterval(timer);
      control.close();
      control.closeAllConnections();
      // the process ends right after: nothing is worth waiting for without a bound
      await within(closeMs, mesh.close());
      await within(closeMs, discovery.close());
      await within(closeMs, driver.close());
    },
  };
}
