/** Where a mesh on one machine keeps its files: keys that stay across runs, and sockets and tokens that do not. */
import { mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

export interface StateDirectories {
  /** Root certificate and key, token key: kept (mode 0700). */
  readonly keep: string;
  /** Tokens, sockets, pod files of this run. */
  readonly run: string;
  readonly controlSocket: string;
}

/** Longest path of a Unix socket on Linux and macOS, with its end mark. */
const maxSocketPath = 103;

/** Paths for a mesh of this name. Nothing is created. */
export function stateDirectories(
  base: { readonly keep: string; readonly run: string },
  name: string,
): StateDirectories {
  const run = join(base.run, name);
  const controlSocket = join(run, 'control.sock');
  if (Buffer.byteLength(controlSocket) > maxSocketPath) {
    throw new Error(
      `the path ${controlSocket} is too long for a Unix socket: choose a shorter --name or XDG_RUNTIME_DIR`,
    );
  }
  return { keep: join(base.keep, name), run, controlSocket };
}

/** True when a mesh answers on the control socket. */
export function isRunning(controlSocket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(controlSocket, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Makes the directories; what an earlier run that did not end in order left in `run` is removed. */
export function prepareDirectories(directories: StateDirectories): void {
  rmSync(directories.run, { recursive: true, force: true });
  mkdirSync(directories.run, { recursive: true, mode: 0o700 });
  mkdirSync(directories.keep, { recursive: true, mode: 0o700 });
}
