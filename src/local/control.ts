/**
 * The control socket of a running mesh: `trysail status`, `logs`, `exec` and `down` in a second terminal talk to it.
 * HTTP over a Unix socket that only its owner may open.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ChildProcess } from 'node:child_process';
import type { LogLine } from './log_buffer.ts';
import { isRunning } from './state_directory.ts';

/** What one row of the table of pods shows. */
export interface PodStatus {
  readonly name: string;
  readonly namespace: string;
  readonly version: string;
  readonly address: string;
  /** SPIFFE id; empty without a sidecar. */
  readonly identity: string;
  readonly phase: string;
  /** `SYNCED`, `STALE`, `NOT SENT`, `ERROR`; empty without a sidecar. */
  readonly xds: string;
  readonly restarts: number;
}

export interface MeshStatus {
  readonly mode: string;
  readonly reason: string;
  readonly urls: readonly string[];
  readonly pods: readonly PodStatus[];
  /** Problems of configuration that stand now, as printed. */
  readonly problems: readonly string[];
  /** Every pod is ready, and every sidecar has accepted all that there is. */
  readonly settled: boolean;
}

export interface ControlHandler {
  status(): MeshStatus;
  /** Lines so far, then (when `follow`) new ones until the returned function is called. Undefined: no such pod. */
  logs(
    pod: string,
    source: string | undefined,
    onLine: (line: LogLine) => void,
    follow: boolean,
  ): (() => void) | undefined;
  /** Runs a command in a pod. Undefined: no such pod. */
  execute(pod: string, command: readonly string[]): ChildProcess | undefined;
  down(): void;
}

/** One message of an `exec` answer. */
type ExecFrame = { readonly out: string } | { readonly err: string } | { readonly exit: number };

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

function runExec(child: ChildProcess, requestStream: IncomingMessage, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const send = (frame: ExecFrame): void => void response.write(`${JSON.stringify(frame)}\n`);
  child.stdout?.on('data', (data: Buffer) => send({ out: data.toString('base64') }));
  child.stderr?.on('data', (data: Buffer) => send({ err: data.toString('base64') }));
  if (child.stdin !== null) {
    child.stdin.on('error', () => {});
    requestStream.pipe(child.stdin);
  }
  let ended = false;
  const end = (exit: number): void => {
    if (ended) return;
    ended = true;
    send({ exit });
    response.end();
  };
  child.on('error', () => end(127));
  child.on('close', (code) => end(code ?? 1));
  response.on('close', () => {
    if (!ended) child.kill('SIGKILL');
  });
}

/** Starts the control socket; an old socket file of a mesh that is gone is replaced. */
export function serveControl(path: string, handler: ControlHandler): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((message, response) => {
    const url = new URL(message.url ?? '/', 'http://control');
    const pod = url.searchParams.get('pod') ?? '';
    if (url.pathname === '/status') return sendJson(response, 200, handler.status());
    if (url.pathname === '/down' && message.method === 'POST') {
      sendJson(response, 200, {});
      handler.down();
      return undefined;
    }
    if (url.pathname === '/logs') {
      const follow = url.searchParams.get('follow') === 'true';
      const lines: string[] = [];
      let started = false;
      const stop = handler.logs(
        pod,
        url.searchParams.get('source') ?? undefined,
        (line) => {
          const text = `${JSON.stringify(line)}\n`;
          if (started) response.write(text);
          else lines.push(text);
        },
        follow,
      );
      if (stop === undefined) return sendJson(response, 404, { error: `no pod ${pod}` });
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(lines.join(''));
      started = true;
      if (follow) response.on('close', stop);
      else response.end();
      return undefined;
    }
    if (url.pathname === '/exec' && message.method === 'POST') {
      const child = handler.execute(pod, url.searchParams.getAll('arg'));
      if (child === undefined) return sendJson(response, 404, { error: `no pod ${pod}` });
      runExec(child, message, response);
      return undefined;
    }
    return sendJson(response, 404, { error: `no such call: ${url.pathname}` });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve(server);
    });
  });
}

/** Calls a running mesh. Rejects with a plain message when none runs. */
function call(
  path: string,
  method: string,
  target: string,
  body?: NodeJS.ReadableStream,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: path, method, path: target }, (response) => {
      if (response.statusCode === 200) return resolve(response);
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { error } = JSON.parse(text) as { error?: string };
        reject(new Error(error ?? `answer ${response.statusCode}`));
      });
      return undefined;
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
          ? new Error('no mesh runs here (start one with `trysail up PATH`)')
          : error,
      ),
    );
    if (body === undefined) outgoing.end();
    else body.pipe(outgoing);
  });
}

async function* jsonLines<T>(response: IncomingMessage): AsyncGenerator<T> {
  let rest = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as T;
  }
}

export async function fetchStatus(path: string): Promise<MeshStatus> {
  const response = await call(path, 'GET', '/status');
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response as AsyncIterable<string>) text += chunk;
  return JSON.parse(text) as MeshStatus;
}

export async function* fetchLogs(
  path: string,
  pod: string,
  options: { readonly source?: string | undefined; readonly follow?: boolean },
): AsyncGenerator<LogLine> {
  const query = new URLSearchParams({ pod, follow: String(options.follow === true) });
  if (options.source !== undefined) query.set('source', options.source);
  yield* jsonLines<LogLine>(await call(path, 'GET', `/logs?${query}`));
}

/** Runs a command in a pod with our input and output; gives its exit code. */
export async function runInPod(
  path: string,
  pod: string,
  command: readonly string[],
  streams: {
    readonly input: NodeJS.ReadableStream;
    readonly output: NodeJS.WritableStream;
    readonly error: NodeJS.WritableStream;
  },
): Promise<number> {
  const query = new URLSearchParams({ pod });
  for (const arg of command) query.append('arg', arg);
  const response = await call(path, 'POST', `/exec?${query}`, streams.input);
  for await (const frame of jsonLines<ExecFrame>(response)) {
    if ('out' in frame) streams.output.write(Buffer.from(frame.out, 'base64'));
    else if ('err' in frame) streams.error.write(Buffer.from(frame.err, 'base64'));
    else return frame.exit;
  }
  return 1;
}

export async function sendDown(path: string): Promise<void> {
  (await call(path, 'POST', '/down')).resume();
}

/** Waits until no mesh answers any more. @throws Error after half a minute. */
export async function waitUntilGone(path: string): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (await isRunning(path)) {
    if (performance.now() > deadline) throw new Error('the mesh has not ended after 30 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
