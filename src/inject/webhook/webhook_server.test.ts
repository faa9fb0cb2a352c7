import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:https';
import { type TestContext, describe, test } from 'node:test';
import { connect } from 'node:tls';
import { type TestWebhook, applyPatch, reviewText, smallPod, startTestWebhook } from './testing.ts';

async function webhook(
  t: TestContext,
  options?: Parameters<typeof startTestWebhook>[0],
): Promise<TestWebhook> {
  const started = await startTestWebhook(options);
  t.after(() => started.close());
  return started;
}

interface Response {
  readonly uid: string;
  readonly allowed: boolean;
  readonly patchType?: string;
  readonly patch?: string;
  readonly status?: { readonly code: number; readonly message: string };
}

function responseOf(text: string): Response {
  return (JSON.parse(text) as { response: Response }).response;
}

interface Injected {
  readonly spec: {
    readonly containers: {
      readonly name: string;
      readonly env?: { readonly name: string; readonly value?: string }[];
    }[];
  };
}

function injectedPod(text: string, pod: unknown): Injected {
  const { patch = '' } = responseOf(text);
  return applyPatch(pod, JSON.parse(Buffer.from(patch, 'base64').toString()) as unknown[]) as Injected;
}

describe('webhook', () => {
  test('a review over HTTPS gives a patch that injects', async (t) => {
    const { send, count } = await webhook(t);
    const { status, text, headers } = await send(reviewText(smallPod), {
      path: '/inject/cluster/east/net/n1?timeout=10s',
    });
    assert.equal(status, 200, text);
    assert.equal(headers['content-type'], 'application/json');
    const { uid, allowed, patchType } = responseOf(text);
    assert.deepEqual({ uid, allowed, patchType }, { uid: 'u1', allowed: true, patchType: 'JSONPatch' });
    const { containers } = injectedPod(text, smallPod).spec;
    assert.deepEqual(containers.map(({ name }) => name).sort(), ['istio-proxy', 'web']);
    const env = containers.find(({ name }) => name === 'istio-proxy')?.env ?? [];
    assert.equal(env.find(({ name }) => name === 'ISTIO_META_CLUSTER_ID')?.value, 'east');
    assert.equal(env.find(({ name }) => name === 'ISTIO_META_NETWORK')?.value, 'n1');
    assert.equal(count('sidecar_injection_requests_total'), 1);
    assert.equal(count('sidecar_injection_success_total'), 1);
    assert.ok(count('sidecar_injection_time_seconds') > 0);
  });

  test('skips and failures are counted apart', async (t) => {
    const { send, count } = await webhook(t);
    const labelled = (value: string) => ({
      ...smallPod,
      metadata: { labels: { 'sidecar.istio.io/inject': value } },
    });
    const skipped = await send(reviewText(labelled('false')));
    assert.deepEqual(responseOf(skipped.text), { uid: 'u1', allowed: true });
    const annotations = { 'sidecar.istio.io/proxyCPU': 'lots' };
    const failed = responseOf((await send(reviewText({ ...smallPod, metadata: { annotations } }))).text);
    assert.equal(failed.allowed, false);
    assert.equal(failed.patch, undefined);
    assert.match(failed.status?.message ?? '', /proxyCPU/);
    assert.equal(count('sidecar_injection_requests_total'), 2);
    assert.equal(count('sidecar_injection_skip_total'), 1);
    assert.equal(count('sidecar_injection_failure_total'), 1);
    assert.equal(count('sidecar_injection_success_total'), 0);
  });

  test('ready tells whether there are settings; without any nothing is decided', async (t) => {
    const good = await webhook(t);
    for (const path of ['/ready', '/httpsReady'])
      assert.equal((await good.send('', { path, method: 'GET' })).status, 200);
    const bad = await webhook(t, { settings: () => undefined });
    assert.equal((await bad.send('', { path: '/ready', method: 'GET' })).status, 503);
    assert.equal((await bad.send(reviewText(smallPod))).status, 503);
  });

  test('a new certificate is for new connections, open ones stay', async (t) => {
    const { send, server, issue, rootPem } = await webhook(t);
    const before = await send(reviewText(smallPod));
    server.rotate(await issue());
    const kept = await send(reviewText(smallPod));
    assert.equal(kept.reused, true);
    assert.equal(kept.fingerprint, before.fingerprint);
    const agent = new Agent({ ca: rootPem });
    const fresh = await send(reviewText(smallPod), { agent });
    agent.destroy();
    assert.equal(fresh.status, 200);
    assert.notEqual(fresh.fingerprint, before.fingerprint);
  });
});

interface BadCase {
  readonly name: string;
  readonly body: string | Buffer;
  readonly status: number;
  readonly reason: RegExp;
  readonly more?: Parameters<TestWebhook['send']>[1];
}

const typed = (type: string) => ({ headers: { 'content-type': type } });
const badCases: readonly BadCase[] = [
  { name: 'no body', body: '', status: 400, reason: /no body/ },
  { name: 'no JSON', body: '{', status: 400, reason: /not JSON/ },
  { name: 'no UTF-8', body: Buffer.from([0x22, 0xff, 0x22]), status: 400, reason: /UTF-8/ },
  { name: 'a cut review', body: reviewText(smallPod).slice(0, -9), status: 400, reason: /not JSON/ },
  {
    name: 'a wrong type',
    body: reviewText({ spec: { containers: 1 } }),
    status: 400,
    reason: /containers: expected a list/,
  },
  { name: 'no pod', body: reviewText(null), status: 400, reason: /expected a pod/ },
  { name: 'another type', body: '{}', status: 415, reason: /application\/json/, more: typed('text/plain') },
  {
    name: 'an encoding',
    body: '{}',
    status: 415,
    reason: /encoding/,
    more: { headers: { 'content-encoding': 'gzip' } },
  },
  { name: 'GET', body: '', status: 405, reason: /POST/, more: { method: 'GET' } },
  { name: 'another path', body: '{}', status: 404, reason: /inject/, more: { path: '/injector' } },
  {
    name: 'a long body',
    body: Buffer.alloc(3 * 1024 * 1024 + 1, 0x20),
    status: 413,
    reason: /at most 3145728/,
  },
];

describe('webhook: bad requests', () => {
  for (const { name, body, status, reason, more } of badCases)
    test(name, async (t) => {
      const { send } = await webhook(t);
      // A server that refuses a long body early may cut the connection while it is still being sent.
      const answer = await send(body, more).catch((error: unknown) => {
        if (status === 413 && /EPIPE|ECONNRESET/.test(String((error as NodeJS.ErrnoException).code)))
          return undefined;
        throw error;
      });
      if (answer !== undefined) {
        assert.equal(answer.status, status, answer.text);
        assert.match((JSON.parse(answer.text) as { message: string }).message, reason);
      }
      assert.equal((await send(reviewText(smallPod))).status, 200);
    });

  test('a chunked body that is too long is cut', async (t) => {
    const { send, count } = await webhook(t, { bounds: { maxBodyBytes: 2000 } });
    const body = Buffer.alloc(4000, 0x20);
    const answer = await send(body, { headers: { 'transfer-encoding': 'chunked' } });
    assert.equal(answer.status, 413);
    assert.equal(count('sidecar_injection_failure_total'), 1);
  });

  test('a client that sends nothing is not waited for, nor one among too many', async (t) => {
    const { port, rootPem, send } = await webhook(t, { bounds: { timeoutMs: 200, maxRequests: 1 } });
    const socket = connect({ port, host: '127.0.0.1', ca: rootPem, servername: 'istiod.istio-system.svc' });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    socket.write(
      'POST /inject HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{',
    );
    let busy = await send(reviewText(smallPod));
    for (let i = 0; i < 5 && busy.status === 200; i++) busy = await send(reviewText(smallPod));
    assert.equal(busy.status, 503);
    assert.equal(busy.headers['retry-after'], '1');
    socket.resume();
    await once(socket, 'close');
    let after = await send(reviewText(smallPod));
    for (let i = 0; i < 5 && after.status !== 200; i++) after = await send(reviewText(smallPod));
    assert.equal(after.status, 200);
  });
});
