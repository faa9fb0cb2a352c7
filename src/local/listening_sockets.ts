/** Which TCP ports are listened on in the network namespace of a process, without connecting (proc(5), /proc/PID/net/tcp). */
import { readFile } from 'node:fs/promises';

/** State `LISTEN` in the column `st`. */
const listen = '0A';

/** Ports in LISTEN in the text of `/proc/PID/net/tcp` or `tcp6`. */
export function parseListening(text: string): Set<number> {
  const ports = new Set<number>();
  for (const line of text.split('\n').slice(1)) {
    const [, local, , state] = line.trim().split(/\s+/);
    if (state !== listen || local === undefined) continue;
    ports.add(Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16));
  }
  return ports;
}

/** True when something listens on the port in the namespace of the process. False when the process is gone. */
export async function isListeningIn(pid: number, port: number): Promise<boolean> {
  for (const family of ['tcp', 'tcp6']) {
    try {
      if (parseListening(await readFile(`/proc/${pid}/net/${family}`, 'utf8')).has(port)) return true;
    } catch {
      // no such process, or no such family
    }
  }
  return false;
}
