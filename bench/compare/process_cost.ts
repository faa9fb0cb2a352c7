/** CPU time and memory of a process from /proc (proc(5)). Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

/** CPU nanoseconds used so far by all threads of a process (`/proc/PID/task/TID/schedstat`, first field). */
export function cpuNanoseconds(pid: number): number {
  let total = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // the thread ended between the two calls
    }
  }
  return total;
}

/** Resident set size in MiB (`VmRSS`). */
export function rssMib(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return match === null ? NaN : Number(match[1]) / 1024;
}
