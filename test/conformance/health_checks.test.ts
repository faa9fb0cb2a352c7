/** Active health checks (Envoy core.v3.HealthCheck). */
import assert from 'node:assert/strict';
import {
  type Server as HttpServer,
  createServer as createHttpServer,
  type IncomingHttpHeaders,
} from 'node:http';
import { type Http2Server, type ServerHttp2Stream, createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { type Run, conformance } from '../harness/conformance.ts';

/** What the checked application says now. */
const say = {
  status: 200,
  headers: {} as Record<string, string>,
  slow: false,
  body: 'wanted',
  pong: true,
  serving: 1,
};
const seen: {
  http: IncomingHttpHeaders | undefined;
  grpc: Record<string, unknown> | undefined;
  service: string;
} = {
  http: undefined,
  grpc: undefined,
  service: '',
};
let http: HttpServer | undefined;
let tcp: Server | undefined;
let grpc: Http2Server | undefined;
const sockets = new Set<Socket>();

async function portOf(server: Server | Http2Server | HttpServer): Promise<string> {
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return String((server.address() as AddressInfo).port);
}

async function setUp(): Promise<Record<string, string>> {
  http = createHttpServer((request, response) => {
    if (request.url === '/health') {
      seen.http = request.headers;
      response.writeHead(say.status, say.headers).end();
    } else if (request.url === '/slow') {
      if (!say.slow) response.end();
    } else if (request.url === '/body') response.end(`here is what is ${say.body}`);
    else response.end('answer');
  });
  tcp = createServer((socket) => {
    socket.on('data', (data) => {
      if (String(data) === 'PING' && say.pong) socket.write('PONG');
    });
  });
  grpc = createHttp2Server();
  grpc.on('stream', (stream: ServerHttp2Stream, headers) => {
    seen.grpc = headers;
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('error', () => {});
    stream.on('end', () => {
      // A frame of one message with one string field.
      seen.service = Buffer.concat(parts).subarray(7).toString();
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, say.serving]));
    });
  });
  return { checked: await portOf(http), tcp: await portOf(tcp), grpc: await portOf(grpc) };
}

async function flags(run: Run, cluster: string): Promise<string> {
  return (await run.admin('/clusters')).body
    .split('\n')
    .filter((line) => line.startsWith(`${cluster}::`) && line.includes('::health_flags::'))
    .map((line) => line.slice(line.lastIndexOf('::') + 2))
    .join(' ');
}

async function becomes(run: Run, cluster: string, wanted: string): Promise<void> {
  for (let i = 0; i < 150 && (await flags(run, cluster)) !== wanted; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await flags(run, cluster), wanted);
}

async function ask(run: Run, cluster: string): Promise<number> {
  return (await run.get('/', { headers: { cluster } })).status;
}

/** Waits for a status: the page of hosts may know of a change before all threads do. */
async function answers(run: Run, cluster: string, status: number): Promise<void> {
  for (let i = 0; i < 100 && (await ask(run, cluster)) !== status; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await ask(run, cluster), status);
}

conformance(import.meta.filename, {
  rows: ['5.45'],
  setUp,
  tearDown: () => {
    for (const server of [http, tcp, grpc]) server?.close();
    for (const socket of sockets) socket.destroy();
    Object.assign(say, { status: 200, headers: {}, slow: false, body: 'wanted', pong: true, serving: 1 });
  },
  cases: {
    'HTTP: the request, and one wrong answer that ejects at once': async (run) => {
      await becomes(run, 'http', 'healthy');
      await answers(run, 'http', 200);
      assert.equal(seen.http?.['host'], 'checked.example');
      assert.equal(seen.http?.['user-agent'], 'Envoy/HC');
      assert.equal(seen.http?.['x-check'], 'yes');
      const network = await run.stat('cluster.http.health_check.network_failure');
      say.status = 500;
      await becomes(run, 'http', '/failed_active_hc');
      assert.equal(await run.stat('cluster.http.membership_healthy'), 0);
      assert.equal(await run.stat('cluster.http.health_check.healthy'), 0);
      await answers(run, 'http', 503);
      say.status = 200;
      await becomes(run, 'http', 'healthy');
      assert.equal(await run.stat('cluster.http.health_check.healthy'), 1);
      assert.ok((await run.stat('cluster.http.health_check.success')) >= 3);
      assert.ok((await run.stat('cluster.http.health_check.failure')) >= 1);
      assert.equal(await run.stat('cluster.http.health_check.network_failure'), network);
    },
    'HTTP: statuses that may be retried count up to the threshold': async (run) => {
      await becomes(run, 'http', 'healthy');
      const before = await run.stat('cluster.http.health_check.failure');
      say.status = 429;
      await becomes(run, 'http', '/failed_active_hc');
      assert.ok((await run.stat('cluster.http.health_check.failure')) - before >= 3);
      say.status = 200;
      await becomes(run, 'http', 'healthy');
    },
    'HTTP: a degraded host is healthy enough': async (run) => {
      say.headers = { 'x-envoy-degraded': 'true' };
      await becomes(run, 'http', '/degraded_active_hc');
      assert.equal(await run.stat('cluster.http.membership_degraded'), 1);
      assert.equal(await run.stat('cluster.http.health_check.degraded'), 1);
      await answers(run, 'http', 200);
      say.headers = {};
      await becomes(run, 'http', 'healthy');
    },
    'HTTP: silence': async (run) => {
      await becomes(run, 'slow', 'healthy');
      say.slow = true;
      await becomes(run, 'slow', '/failed_active_hc/active_hc_timeout');
      assert.ok((await run.stat('cluster.slow.health_check.network_failure')) >= 2);
      say.slow = false;
      await becomes(run, 'slow', 'healthy');
    },
    'HTTP: the body that is wanted': async (run) => {
      await becomes(run, 'body', 'healthy');
      say.body = 'offered';
      await becomes(run, 'body', '/failed_active_hc');
      say.body = 'wanted';
      await becomes(run, 'body', 'healthy');
    },
    'another port, and no check at all': async (run) => {
      await becomes(run, 'other_port', 'healthy');
      await answers(run, 'other_port', 200);
      say.status = 500;
      await becomes(run, 'other_port', '/failed_active_hc');
      assert.equal(await flags(run, 'disabled'), 'healthy');
      await answers(run, 'disabled', 200);
      say.status = 200;
      await becomes(run, 'other_port', 'healthy');
    },
    'TCP: bytes that are answered': async (run) => {
      await becomes(run, 'tcp', 'healthy');
      say.pong = false;
      await becomes(run, 'tcp', '/failed_active_hc/active_hc_timeout');
      say.pong = true;
      await becomes(run, 'tcp', 'healthy');
    },
    'TCP: a connection is enough': async (run) => {
      await becomes(run, 'connect', 'healthy /failed_active_hc');
      for (let i = 0; i < 5; i++) await answers(run, 'connect', 200);
    },
    gRPC: async (run) => {
      await becomes(run, 'grpc', 'healthy');
      assert.equal(seen.grpc?.[':path'], '/grpc.health.v1.Health/Check');
      assert.equal(seen.grpc?.[':authority'], 'carts.example');
      assert.equal(seen.grpc?.['content-type'], 'application/grpc');
      assert.equal(seen.service, 'shop.Cart');
      say.serving = 2;
      await becomes(run, 'grpc', '/failed_active_hc');
      say.serving = 1;
      await becomes(run, 'grpc', 'healthy');
    },
    'the event log': async (run) => {
      const events = (await run.lines('health.log', 4)).map(
        (line) => JSON.parse(line) as Record<string, unknown>,
      );
      const kinds = events.map((event) =>
        Object.keys(event).find((key) => /event|host$/.test(key) && key !== 'host'),
      );
      for (const kind of [
        'add_healthy_event',
        'eject_unhealthy_event',
        'degraded_healthy_host',
        'no_longer_degraded_host',
      ])
        assert.ok(kinds.includes(kind), `${kind} in ${kinds.join(', ')}`);
      const ejected = events.find((event) => event['eject_unhealthy_event'] !== undefined);
      assert.equal(ejected?.['health_checker_type'], 'HTTP');
      assert.partialDeepStrictEqual(ejected?.['host'], {
        socket_address: { address: '127.0.0.1', protocol: 'TCP' },
      });
      assert.partialDeepStrictEqual(ejected?.['eject_unhealthy_event'], { failure_type: 'ACTIVE' });
    },
  },
});
