/**
 * A standard output that a child can open by name. Envoy opens its access log `/dev/stdout` anew, which fails with ENXIO
 * where our own output is a socket, as it is under a parent that runs on Node. Then a named pipe stands in between.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, createReadStream, fstatSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export interface StdoutPipe {
  /** For `stdio` of the child. */
  readonly stdio: number | 'inherit';
  close(): void;
}

const stdoutFd = 1;

/** @param directory where a named pipe may be made; nobody else may enter it. */
export function openStdoutPipe(directory: string): StdoutPipe {
  if (!fstatSync(stdoutFd).isSocket()) return { stdio: 'inherit', close() {} };
  const path = join(directory, 'stdout.fifo');
  rmSync(path, { force: true });
  execFileSync('mkfifo', ['-m', '600', path]);
  // Read and write: the pipe has a reader from the first moment on, and no end while a child starts anew.
  const fd = openSync(path, constants.O_RDWR);
  const reader = createReadStream(path, { fd: openSync(path, constants.O_RDONLY) });
  reader.pipe(process.stdout, { end: false });
  reader.on('error', () => {});
  return {
    stdio: fd,
    close() {
      closeSync(fd);
      rmSync(path, { force: true });
    },
  };
}
