import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { silentLogger } from '#base/log.ts';
import { createMemoryStore } from '#config/store/memory.ts';
import { reviewText, smallPod } from '#inject/webhook/testing.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { startInjection } from './injection.ts';

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
