/** `trysail up`: starts a mesh from files, shows it, keeps it equal to the files, and ends it without a trace. */
import type { ChildProcess } from 'node:child_process';
import type { Logger } from '#base/log.ts';
import type { HostDriver } from './host_driver.ts';
import { openMeshFiles } from './mesh_files.ts';
import { Reaper } from './reaper.ts';
import { formatRates, RequestStats } from './request_stats.ts';
import { runChecks } from './run_checks.ts';
import { runMesh, type RunningMesh } from './run_mesh.ts';
import { Screen } from './screen.ts';
import type { SidecarSettings } from './sidecar_command.ts';
import { prepareDirectories, type StateDirectories } from './state_directory.ts';
import { startTraffic } from './traffic.ts';

/** How often the bottom line refreshes. */
const refreshMs = 1000;

/** A mesh that is not ready by then fails `--check`. */
const checkReadyMs = 90_000;

export interface UpOptions {
  readonly paths: readonly string[];
  readonly appFiles: readonly string[];
  /** Requests/s to the gateway; 0 for none. */
  readonly trafficRps: number;
  readonly check: boolean;
  readonly json: boolean;
  readonly driver: () => Promise<HostDriver>;
  readonly directories: StateDirectories;
  readonly discovery: { readonly address: string; readonly port: number };
  readonly sidecars: Omit<SidecarSettings, 'driver' | 'rootCertificate' | 'trustDomain'>;
  readonly trustDomain: string;
  readonly log: Logger;
  readonly output: {
    readonly write: (text: string) => void;
    readonly terminal: boolean;
    readonly columns: () => number;
  };
  /** Resolves when the mesh is to end (a signal, or the parent is gone). */
  readonly ended: Promise<string>;
  /** Processes are ended by the kernel with their namespace: no reaper is needed. */
  readonly sandboxed: boolean;
}

/** Runs until the end; gives the exit code. */
export async function up(options: UpOptions): Promise<number> {
  const { driver: makeDriver, directories } = options;
  prepareDirectories(directories);
  const screen = new Screen({ ...options.output, json: options.json });
  const reaper = options.sandboxed ? undefined : new Reaper([directories.run]);
  let tellEnd: (reason: string) => void = () => {};
  const down = new Promise<string>((resolve) => (tellEnd = resolve));
  const ended = Promise.race([options.ended, down]);
  let running: RunningMesh | undefined;
  let refresh: NodeJS.Timeout | undefined;
  let later: NodeJS.Timeout | undefined;
  let closing = false;
  const show = (): void => {
    if (running !== undefined && !closing) screen.status(running.status());
  };
  // many changes come together while pods start: one table for all of them
  const changed = (): void => {
    refresh ??= setTimeout(() => {
      refresh = undefined;
      show();
      // quiet is a state too, and nothing tells of it
      clearTimeout(later);
      later = setTimeout(show, 1000);
    }, 150);
  };

  const files = await openMeshFiles({
    paths: options.paths,
    appFiles: options.appFiles,
    nodePath: options.sidecars.nodePath,
    baseEnvironment: options.sidecars.baseEnvironment,
    onProblems: (problems) => {
      for (const problem of problems) screen.note(problem, 'problem');
    },
    onChanged: (names) => screen.note(`changed: ${names.join(', ')}`),
    log: options.log,
  });
  const driver = await makeDriver();
  screen.note(driver.reason);
  const stops: (() => void)[] = [];
  let exitCode = 0;
  try {
    const mesh = await runMesh({
      files: files.store,
      kinds: files.kinds,
      fileProblems: files.problems,
      apps: files.apps,
      driver,
      directories,
      discovery: options.discovery,
      sidecars: options.sidecars,
      trustDomain: options.trustDomain,
      log: options.log,
      onChange: changed,
      onProblem: (message) => {
        if (!closing) screen.note(message, 'problem');
      },
      onLog: (line) => {
        // the sidecars' standard output is their access log; all else is for `trysail logs`
        if (!options.check && line.source === 'istio-proxy' && line.stream === 'stdout') screen.log(line);
      },
      onProcess: (child: ChildProcess) => {
        const { pid } = child;
        if (reaper === undefined || pid === undefined) return;
        reaper.add(pid);
        child.once('exit', () => reaper.delete(pid));
      },
      onDown: () => tellEnd('trysail down'),
    });
    running = mesh;
    show();
    if (options.check) {
      exitCode = (await Promise.race([
        checkNow(mesh, screen, files.store, options.sidecars.dataPlane),
        ended.then(() => 1),
      ])) as number;
    } else {
      stops.push(showRates(mesh, screen));
      if (options.trafficRps > 0)
        stops.push(
          startTraffic(
            options.trafficRps,
            () => (mesh.settled() || mesh.target() ? mesh.target() : undefined),
            () => {},
          ),
        );
      const reason = await ended;
      screen.end();
      screen.note(`${reason}: ending the mesh`);
    }
  } catch (error) {
    screen.note(error instanceof Error ? error.message : String(error), 'problem');
    exitCode = 1;
  } finally {
    closing = true;
    clearTimeout(refresh);
    clearTimeout(later);
    for (const stop of stops) stop();
    screen.end();
    await files.close();
    if (running === undefined) await driver.close();
    else await running.close();
    reaper?.dismiss();
  }
  return exitCode;
}

async function checkNow(
  mesh: RunningMesh,
  screen: Screen,
  store: Parameters<typeof runChecks>[1],
  dataPlane: SidecarSettings['dataPlane'],
): Promise<number> {
  const deadline = performance.now() + checkReadyMs;
  while (!mesh.settled()) {
    if (performance.now() > deadline) {
      screen.status(mesh.status());
      screen.note(`not ready after ${checkReadyMs / 1000} s`, 'problem');
      return 1;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  screen.status(mesh.status());
  const lines = await runChecks(mesh, store, dataPlane);
  for (const { ok, text } of lines) screen.note(`${ok ? 'ok  ' : 'FAIL'} ${text}`, ok ? 'info' : 'problem');
  return lines.every(({ ok }) => ok) ? 0 : 1;
}

/** Refreshes the bottom line from the sidecars' metrics. */
function showRates(mesh: RunningMesh, screen: Screen): () => void {
  const stats = new RequestStats();
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const tick = async (): Promise<void> => {
    const rates = stats.update((await mesh.counts()).counts);
    if (stopped) return;
    screen.rates(formatRates(rates), rates);
    timer = setTimeout(() => void tick(), refreshMs);
  };
  timer = setTimeout(() => void tick(), refreshMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
