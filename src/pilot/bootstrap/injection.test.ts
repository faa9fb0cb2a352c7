import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { silentLogger } from '#base/log.ts';
import { createMemoryStore } from '#config/store/memory.ts';
import { KubeClient } from '#kube/client.ts';
import { reviewText, smallPod } from '#inject/webhook/testing.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { startInjection } from './injection.ts';
import type { Cluster } from './kubernetes.ts';

test('without a cluster: defaults and the mesh of the store; certificates change under open connections', async (t) => {
  const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local', log: silentLogger });
  const store = createMemoryStore();
  const injection = await startInjection({
    listen: { address: '127.0.0.1', port: 0 },
    authority,
    store,
    namespace: 'istio-system',
    revision: 'canary',
    certificateTtlMs: 600,
    metrics: new MetricsRegistry(),
  });
  // A life this short ends between whole seconds: here it is about the name and the change, not about validity.
  const options = {
    ca: authority.rootPem,
    servername: 'istiod-canary.istio-system.svc',
    rejectUnauthorized: false,
  };
  const open = new Agent({ ...options, keepAlive: true, maxSockets: 1 });
  t.after(async () => {
    open.destroy();
    await injection.close();
    authority.close();
  });

  async function review(agent: Agent): Promise<{ patch: string; socket: TLSSocket; fingerprint: string }> {
    const headers = { 'content-type': 'application/json' };
    const call = request({
      ...options,
      host: '127.0.0.1',
      port: injection.port,
      path: '/inject',
      method: 'POST',
      headers,
      agent,
    });
    call.end(reviewText(smallPod));
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    const socket = response.socket as TLSSocket;
    const { fingerprint256: fingerprint, subjectaltname } = socket.getPeerCertificate();
    assert.match(subjectaltname ?? '', /DNS:istiod-canary\.istio-system\.svc/);
    let text = '';
    for await (const chunk of response) text += String(chunk);
    assert.equal(response.statusCode, 200, text);
    const { patch } = (JSON.parse(text) as { response: { patch: string } }).response;
    return { patch: Buffer.from(patch, 'base64').toString(), socket, fingerprint };
  }

  const first = await review(open);
  assert.match(first.patch, /"revision\\?":\\?"canary/);
  assert.doesNotMatch(first.patch, /SHIP/);
  store.put({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: 'istio',
      namespace: 'istio-system',
      labels: {},
      annotations: {},
      creationTimestamp: 0,
      resourceVersion: '1',
    },
    body: { data: { mesh: 'defaultConfig: { proxyMetadata: { SHIP: cutter } }' } },
    source: { file: 'x', line: 1, column: 1 },
  });
  for (let i = 0; ; i++) {
    const agent = new Agent(options);
    const { fingerprint } = await review(agent);
    agent.destroy();
    if (fingerprint !== first.fingerprint) break;
    assert.ok(i < 300, 'the certificate never changes');
    await sleep(10);
  }
  const last = await review(open);
  assert.equal(last.socket, first.socket);
  assert.match(last.patch, /"name":"SHIP","value":"cutter"/);
});

test('a cluster that does not let the ConfigMap be read: answers 503 and holds up nothing', async (t) => {
  const forbidden = createServer((_, response) => {
    response.writeHead(403, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: 'Status', status: 'Failure', reason: 'Forbidden', code: 403 }));
  });
  forbidden.listen(0, '127.0.0.1');
  await once(forbidden, 'listening');
  const { port } = forbidden.address() as AddressInfo;
  const client = new KubeClient({
    access: {
      server: `http://127.0.0.1:${port}`,
      origin: 'test',
      namespace: 'default',
      material: async () => ({}),
      refresh() {},
    },
  });
  const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local', log: silentLogger });
  const injection = await startInjection({
    listen: { address: '127.0.0.1', port: 0 },
    authority,
    store: createMemoryStore(),
    cluster: { client, elect: () => undefined } as unknown as Cluster,
    namespace: 'istio-system',
    revision: '',
    metrics: new MetricsRegistry(),
  });
  t.after(async () => {
    await injection.close();
    client.close();
    authority.close();
    forbidden.close();
    forbidden.closeAllConnections();
  });
  const call = request({
    ca: authority.rootPem,
    servername: 'istiod.istio-system.svc',
    host: '127.0.0.1',
    port: injection.port,
    path: '/inject',
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    agent: false,
  });
  call.end(reviewText(smallPod));
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  response.resume();
  assert.equal(response.statusCode, 503);
});
