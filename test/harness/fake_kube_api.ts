/** An API server that answers as a test scripts it: for what a real one cannot be made to do. Plain HTTP on loopback. */
import { once } from 'node:events';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { AccessMaterial, KubeAccess } from '#kube/access.ts';
import { KubeClient, type KubeClientOptions } from '#kube/client.ts';

/** A request as the script sees it. */
export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly isWatch: boolean;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

/** An answer, or a function that writes one by hand (a watch). */
export type FakeReply =
  | { readonly status?: number; readonly headers?: Readonly<Record<string, string>>; readonly json: unknown }
  | ((response: ServerResponse) => void);

/** A scripted API server. */
export interface FakeKubeApi {
  readonly access: KubeAccess & { refreshed: number };
  readonly requests: FakeRequest[];
  client(options?: Omit<KubeClientOptions, 'access'>): KubeClient;
}

/** A Status of the API. */
export function status(code: number, reason: string, rest: object = {}): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason, ...rest };
}

/** A watch that sends these events, one per line, and stays open or ends. */
export function watchReply(events: readonly unknown[], end: 'open' | 'end' | 'reset' = 'open'): FakeReply {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const event of events) response.write(`${JSON.stringify(event)}\n`);
    if (end === 'end') response.end();
    if (end === 'reset') setImmediate(() => response.destroy());
  };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

/** Starts one; it ends with the test. */
export async function startFakeKubeApi(
  t: TestContext,
  script: (request: FakeRequest) => FakeReply,
  material: () => AccessMaterial = () => ({}),
): Promise<FakeKubeApi> {
  const requests: FakeRequest[] = [];
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    const request: FakeRequest = {
      method: incoming.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      isWatch: url.searchParams.get('watch') === 'true',
      authorization: incoming.headers.authorization,
      body: await readJson(incoming),
    };
    requests.push(request);
    const reply = script(request);
    if (typeof reply === 'function') return reply(response);
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
    response.end(JSON.stringify(reply.json));
  };
  const server: Server = createServer((incoming, response) => void answer(incoming, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const access = {
    server: `http://127.0.0.1:${port}`,
    origin: 'test',
    namespace: 'default',
    refreshed: 0,
    material: async () => material(),
    refresh: () => void access.refreshed++,
  };
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    access,
    requests,
    client(options = {}) {
      const client = new KubeClient({ access, backoffMs: 1, ...options });
      t.after(() => client.close());
      return client;
    },
  };
}
