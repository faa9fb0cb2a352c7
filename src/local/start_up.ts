/**
 * Decides where a mesh runs and starts it: in a sandbox with captured packets (this process then only holds the sandbox
 * and forwards published ports into it), or as plain processes right here.
 */
import { chownSync } from 'node:fs';
import { createLogger, type Logger } from '#base/log.ts';
import { createNoneDriver } from './driver_none.ts';
import { freePort } from './free_ports.ts';
import { detectCapture } from './network/detect.ts';
import { isRunning, stateDirectories } from './state_directory.ts';
import { up, type UpOptions } from './up.ts';

export interface StartUpOptions {
  readonly paths: readonly string[];
  /** Further `trysail.yaml` files, of which only the programs are taken. */
  readonly appFiles: readonly string[];
  readonly trafficRps: number;
  readonly check: boolean;
  readonly json: boolean;
  readonly capture: 'auto' | 'on' | 'off';
  readonly dataPlane: 'built_in' | 'envoy';
  readonly envoyPath: string | undefined;
  readonly xdsProtocol: 'sotw' | 'delta';
  readonly name: string;
  readonly singleAddress: boolean;
  readonly trustDomain: string;
  /** This process is the one inside the sandbox. */
  readonly inside: boolean;
  /** Who called for root (SUDO_UID, SUDO_GID): applications run as this user. */
  readonly onBehalfOf: { readonly uid: number; readonly gid: number } | undefined;
  /** Variables that must cross into the sandbox (SUDO_UID, SUDO_GID). */
  readonly sandboxEnvironment: Readonly<Record<string, string>>;
  readonly base: { readonly keep: string; readonly run: string };
  readonly baseEnvironment: Readonly<Record<string, string>>;
  readonly packageRoot: string;
  /** Entry of the command line, for starting it again. */
  readonly entry: string;
  readonly nodePath: string;
}

/** Resolves at the first signal that asks to end. A second one ends at once. */
function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        resolve(signal);
      });
    }
  });
}

/** Exit code of `trysail up`. */
export async function startUp(options: StartUpOptions): Promise<number> {
  const ended = untilSignal();
  const directories = stateDirectories(options.base, options.name);
  const log = createLogger({ level: 'warn' });
  if (options.inside) {
    const { createCaptureDriver } = await import('./driver_capture.ts');
    const code = await up({
      ...common(options, log),
      directories,
      ended,
      sandboxed: true,
      discovery: { address: '0.0.0.0', port: 15012 },
      driver: () =>
        createCaptureDriver({
          directory: directories.run,
          log,
          controlPlanePort: 15012,
          ...(options.onBehalfOf === undefined ? {} : { onBehalfOf: options.onBehalfOf }),
        }),
    });
    // the channel to the process outside would keep this one alive
    if (process.connected) process.disconnect?.();
    return code;
  }
  if (await isRunning(directories.controlSocket)) {
    throw new Error(
      `a mesh named ${options.name} runs already: end it with \`trysail down\`, or choose another --name`,
    );
  }
  const support =
    options.capture === 'off'
      ? ({ mode: 'none', missing: 'asked for by --capture off' } as const)
      : await detectCapture();
  if (support.mode === 'capture') {
    const { runInSandbox } = await import('./run_in_sandbox.ts');
    return runInSandbox(options, ended);
  }
  if (options.capture === 'on') throw new Error(`packets cannot be captured here: ${support.missing}`);
  const port = await freePort('127.0.0.1', 15012);
  return up({
    ...common(options, log),
    directories,
    ended,
    sandboxed: false,
    discovery: { address: '127.0.0.1', port },
    driver: () =>
      createNoneDriver({
        directory: directories.run,
        reason: support.missing,
        controlPlanePort: port,
        ...(options.singleAddress ? { singleAddress: true } : {}),
      }),
  });
}

/** What both places have in common. */
function common(
  options: StartUpOptions,
  log: Logger,
): Pick<
  UpOptions,
  'paths' | 'appFiles' | 'trafficRps' | 'check' | 'json' | 'sidecars' | 'trustDomain' | 'log' | 'output'
> {
  const { stdout } = process;
  return {
    paths: options.paths,
    appFiles: options.appFiles,
    trafficRps: options.trafficRps,
    check: options.check,
    json: options.json,
    trustDomain: options.trustDomain,
    log,
    sidecars: {
      nodePath: options.nodePath,
      packageRoot: options.packageRoot,
      dataPlane: options.dataPlane,
      envoyPath: options.envoyPath,
      xdsProtocol: options.xdsProtocol,
      baseEnvironment: options.baseEnvironment,
      own: (path) => {
        if (options.inside) chownSync(path, 1337, 1337);
      },
    },
    output: {
      write: (text) => void stdout.write(text),
      terminal: stdout.isTTY && !options.json,
      columns: () => stdout.columns ?? 80,
    },
  };
}
