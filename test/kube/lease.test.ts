/** Leader election among several candidates on a real API server. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needs } from '../harness/optional_parts.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { TcpRelay } from '../harness/tcp_relay.ts';
import type { KubeClient } from '#kube/client.ts';
import { LeaderElection } from '#kube/lease.ts';

const times = { leaseMs: 2000, renewDeadlineMs: 1200, retryMs: 150 };
const skip = needs('etcd and kube-apiserver', kubeBinaries());

async function until(what: string, condition: () => boolean, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`never: ${what}`);
    await sleep(10);
  }
}

describe('leader election', { skip, timeout: 120_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;
  /** Who leads now, as the candidates' work sees it. */
  const leading = new Set<string>();
  let most = 0;

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client({ timeoutMs: 1000 });
  });
  after(async () => {
    client?.close();
    await server?.close();
  });

  function candidate(name: string, identity: string, over = client): LeaderElection {
    const election = new LeaderElection({
      client: over,
      namespace: 'default',
      name,
      identity,
      ...times,
      lead: async (signal) => {
        leading.add(identity);
        most = Math.max(most, leading.size);
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        leading.delete(identity);
      },
    });
    election.start();
    return election;
  }

  it('one leads; when it gives the lease back another takes it at once', async () => {
    const elections = ['a', 'b', 'c'].map((identity) => candidate('handover', identity));
    await until('a leader', () => leading.size === 1);
    const first = elections.find(({ isLeader }) => isLeader)!;
    const started = Date.now();
    await first.close();
    assert.equal(leading.size, 0);
    await until('another leader', () => leading.size === 1);
    assert.ok(Date.now() - started < times.leaseMs, 'the lease was waited out');
    assert.equal(most, 1);
    await Promise.all(elections.map((election) => election.close()));
    assert.equal(leading.size, 0);
  });

  it('a leader that is cut off stops before another begins', async () => {
    const relay = await TcpRelay.start(server.port);
    const path = server.writeKubeconfig('cut', { token: 'admintoken' }, `https://127.0.0.1:${relay.port}`);
    const alone = await server.client({ timeoutMs: 500 }, path);
    const cut = candidate('cut', 'cut', alone);
    await until('the first leads', () => leading.has('cut'));
    const other = candidate('cut', 'other');
    relay.refuse = true;
    relay.cut();
    await until('the other leads', () => leading.has('other'));
    assert.equal(most, 1);
    relay.refuse = false;
    await sleep(500);
    assert.deepEqual([...leading], ['other']);
    await other.close();
    await until('the first leads again', () => leading.has('cut'));
    await cut.close();
    alone.close();
    await relay.close();
  });

  it('the lead survives a short absence of the server', async () => {
    const election = candidate('absence', 'only');
    await until('it leads', () => leading.has('only'));
    await server.killApiServer();
    await server.startApiServer();
    await until('it leads again', () => leading.has('only'), 20_000);
    await election.close();
  });
});
