/** The cluster as a person uses it: kubectl, our command line, and programs that run in pods. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = join(import.meta.dirname, '..', '..');

/** Namespace with the label, where most workloads run. */
export const mesh = 'trysail-e2e';
/** A second one with the label. */
export const other = 'trysail-e2e-other';
/** One without. */
export const plain = 'trysail-e2e-plain';
/** Of the control plane. */
export const system = 'istio-system';

interface RunOptions {
  readonly input?: string;
  /** Default 60 s. */
  readonly timeoutMs?: number;
}

function run(
  command: string,
  args: readonly string[],
  { input, timeoutMs = 60_000 }: RunOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { cwd: root, maxBuffer: 2 ** 26, timeout: timeoutMs },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const why = error.killed === true ? `no end in ${timeoutMs} ms` : `${stderr}${stdout}`.trim();
        reject(new Error(`${command} ${args.join(' ')}: ${why.slice(-4000)}`, { cause: error }));
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}

/** Runs kubectl; gives what it printed. @throws Error with its words */
export function kubectl(args: readonly string[], options: RunOptions = {}): Promise<string> {
  return run('kubectl', args, options);
}

/** Runs `trysail`; gives what it printed. @throws Error with its words */
export function trysail(args: readonly string[], options: RunOptions = {}): Promise<string> {
  return run(process.execPath, [join(root, 'bin/trysail'), ...args], options);
}

/** Objects of YAML into a namespace. */
export async function apply(namespace: string, text: string): Promise<void> {
  await kubectl(['-n', namespace, 'apply', '-f', '-'], { input: text });
}

/** Objects of YAML out of it. */
async function remove(namespace: string, text: string): Promise<void> {
  await kubectl(['-n', namespace, 'delete', '--ignore-not-found', '-f', '-'], { input: text });
}

/** Applies objects for as long as `body` runs, and removes them whatever happens. */
export async function during(namespace: string, text: string, body: () => Promise<void>): Promise<void> {
  await apply(namespace, text);
  try {
    await body();
  } finally {
    await remove(namespace, text);
  }
}

/** One object or a list, as JSON. */
export async function read<T>(namespace: string, ...what: string[]): Promise<T> {
  return JSON.parse(await kubectl(['-n', namespace, 'get', ...what, '-o', 'json'])) as T;
}

export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly containers: readonly { readonly name: string }[];
    readonly initContainers?: readonly { readonly name: string }[];
    readonly [field: string]: unknown;
  };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly ready: boolean;
      readonly restartCount: number;
    }[];
  };
}

/** Pods of a label selector that are not being deleted. */
export async function podsOf(namespace: string, selector: string): Promise<Pod[]> {
  const { items } = await read<{ items: Pod[] }>(namespace, 'pods', '-l', selector);
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** `2/2` as kubectl prints it. */
export function readyColumn({ spec, status }: Pod): string {
  return `${status.containerStatuses?.filter(({ ready }) => ready).length ?? 0}/${spec.containers.length}`;
}

/** Waits until all Deployments of a namespace have their newest pods available. */
export async function rolledOut(namespace: string, ...names: string[]): Promise<void> {
  for (const name of names)
    await kubectl(['-n', namespace, 'rollout', 'status', `deployment/${name}`, '--timeout=240s'], {
      timeoutMs: 250_000,
    });
}

/** Asks again each half second until the answer is there. @throws Error after the time, default 60 s */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  timeoutMs = 60_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await ask();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`${what}: not after ${timeoutMs / 1000} s`);
    await sleep(500);
  }
}

export interface Answer {
  /** 0: none. */
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Requests from the pod `client` of a namespace, one after another. */
export async function ask(
  namespace: string,
  url: string,
  count = 1,
  headers: string[] = [],
): Promise<Answer[]> {
  const command = ['node', '/pod/get.ts', url, String(count), ...headers];
  const text = await kubectl(['-n', namespace, 'exec', 'client', '-c', 'client', '--', ...command]);
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Answer);
}

/** Repeats a request until its status is the wanted one: configuration takes a moment to arrive. */
export async function askUntil(namespace: string, url: string, status: number): Promise<Answer> {
  let last: Answer | undefined;
  try {
    return await until(`${url} from ${namespace}: status ${status}`, async () => {
      [last] = await ask(namespace, url);
      return last?.status === status ? last : undefined;
    });
  } catch (error) {
    throw new Error(`${(error as Error).message}; the last was ${last?.status} ${last?.body.slice(0, 200)}`, {
      cause: error,
    });
  }
}

/** What a container has written. */
export function logs(namespace: string, pod: string, container: string, ...flags: string[]): Promise<string> {
  return kubectl(['-n', namespace, 'logs', pod, '-c', container, ...flags]);
}
