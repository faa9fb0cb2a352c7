/**
 * What a second worker costs: our proxy with one worker and with two in turns, on all cores, plain HTTP/1.1, 64 connections.
 * Throughput can only be judged where client, backend and both workers have cores of their own (six or more).
 */
import type { ChildProcess } from 'node:child_process';
import { cpus } from 'node:os';
import { cpuNanoseconds } from './process_cost.ts';

export interface WorkersCase {
  readonly rounds: number;
  readonly seconds: number;
  /** Command line of our proxy with this many workers. */
  command(workers: number): string[];
  start(cores: string, command: string[]): ChildProcess;
  stop(child: ChildProcess): Promise<void>;
  /** Resolves when the proxy listens. */
  ready(child: ChildProcess): Promise<void>;
  /** Sends load for this many seconds. */
  load(seconds: number): { requests: number; failed: number };
}

export interface WorkersResult {
  readonly workers: number;
  readonly cpuMicros: number;
  readonly requestsPerSecond: number;
}

/** Medians for one and two workers; `failures` counts requests without a good answer. */
export async function runWorkersCase(
  run: WorkersCase,
): Promise<{ results: WorkersResult[]; failures: number }> {
  const samples = new Map<number, { cpu: number; rate: number }[]>([
    [1, []],
    [2, []],
  ]);
  const cores = cpus()
    .map((_, i) => i)
    .join(',');
  let failures = 0;
  for (let round = 0; round < run.rounds; round++)
    for (const [workers, of] of samples) {
      const child = run.start(cores, run.command(workers));
      try {
        await run.ready(child);
        run.load(Math.max(1, Math.ceil(run.seconds / 2))); // warm-up
        const before = cpuNanoseconds(child.pid ?? 0);
        const { requests, failed } = run.load(run.seconds);
        const used = cpuNanoseconds(child.pid ?? 0) - before;
        failures += failed + (requests === 0 ? 1 : 0);
        of.push({ cpu: used / 1000 / Math.max(1, requests), rate: requests / run.seconds });
      } finally {
        await run.stop(child);
      }
    }
  const median = (values: number[]): number =>
    values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
  const results = [...samples].map(([workers, of]) => ({
    workers,
    cpuMicros: median(of.map(({ cpu }) => cpu)),
    requestsPerSecond: median(of.map(({ rate }) => rate)),
  }));
  const [one, two] = results;
  console.table(
    results.map(({ workers, cpuMicros, requestsPerSecond }) => ({
      case: 'workers',
      workers,
      'CPU µs/request': cpuMicros.toFixed(1),
      'against one': (cpuMicros / (one?.cpuMicros ?? NaN)).toFixed(2),
      'requests/s': Math.round(requestsPerSecond),
    })),
  );
  if (cpus().length < 6)
    console.log(`throughput of two workers: not measurable on ${cpus().length} cores (needs 6)`);
  else
    console.log(
      `throughput of two workers: ${((two?.requestsPerSecond ?? NaN) / (one?.requestsPerSecond ?? NaN)).toFixed(2)} of one`,
    );
  return { results, failures };
}
