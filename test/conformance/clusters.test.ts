/** Cluster types (Envoy cluster.v3.Cluster.DiscoveryType) but EDS, which every mesh test drives. */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';
import { DnsServer } from '../harness/dns_server.ts';

let dns: DnsServer | undefined;

function answers(): DnsServer {
  assert.ok(dns);
  return dns;
}

async function hosts(run: Run, cluster: string): Promise<string> {
  return (await run.admin('/clusters')).body
    .split('\n')
    .filter((line) => line.startsWith(`${cluster}::`) && line.includes('::health_flags::'))
    .map((line) => line.split('::').slice(1, -2).join('::').replace(/:\d+$/, ''))
    .toSorted()
    .join(' ');
}

async function becomes(run: Run, cluster: string, wanted: string): Promise<void> {
  for (let i = 0; i < 200 && (await hosts(run, cluster)) !== wanted; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(await hosts(run, cluster), wanted);
}

async function ask(run: Run, cluster: string, headers: Record<string, string> = {}): Promise<number> {
  return (await run.get('/', { headers: { cluster, ...headers } })).status;
}

conformance(import.meta.filename, {
  rows: ['5.36', '5.41'],
  setUp: async () => {
    dns = await DnsServer.start();
    for (const name of ['strict', 'ttl', 'logical'])
      dns.entries.set(`${name}.example`, { addresses: ['127.0.0.1'], ttlSeconds: 1 });
    dns.entries.set('both.example', { addresses: ['127.0.0.1', '::1'], ttlSeconds: 300 });
    dns.entries.set('missing.example', { addresses: ['127.0.0.1'] });
    dns.failing.add('missing.example');
    return { dns: String(dns.port) };
  },
  tearDown: () => dns?.stop(),
  cases: {
    'STRICT_DNS: every address is a host, asked again and again': async (run) => {
      await becomes(run, 'strict', '127.0.0.1');
      assert.equal(await ask(run, 'strict'), 200);
      answers().entries.set('strict.example', { addresses: ['127.0.0.1', '127.0.0.2'] });
      await becomes(run, 'strict', '127.0.0.1 127.0.0.2');
      assert.equal(await run.stat('cluster.strict.membership_total'), 2);
      answers().entries.set('strict.example', { addresses: ['127.0.0.1'] });
      await becomes(run, 'strict', '127.0.0.1');
      assert.equal(await run.stat('cluster.strict.membership_change'), 3);
      assert.ok((await run.stat('cluster.strict.update_success')) >= 3);
    },
    'STRICT_DNS: an answer that fails leaves the hosts as they are': async (run) => {
      const before = await run.stat('cluster.strict.update_failure');
      answers().failing.add('strict.example');
      for (let i = 0; i < 200 && (await run.stat('cluster.strict.update_failure')) === before; i++)
        await new Promise((resolve) => setTimeout(resolve, 20));
      assert.ok((await run.stat('cluster.strict.update_failure')) > before);
      answers().failing.delete('strict.example');
      assert.equal(await hosts(run, 'strict'), '127.0.0.1');
      assert.equal(await ask(run, 'strict'), 200);
    },
    'the TTL of the answer in place of the rate': async (run) => {
      await becomes(run, 'ttl', '127.0.0.1');
      answers().entries.set('ttl.example', { addresses: ['127.0.0.3'], ttlSeconds: 1 });
      await becomes(run, 'ttl', '127.0.0.3');
    },
    'LOGICAL_DNS: one host, the first address': async (run) => {
      answers().entries.set('logical.example', { addresses: ['127.0.0.1', '127.0.0.2'] });
      await becomes(run, 'logical', '127.0.0.1');
      assert.equal(await ask(run, 'logical'), 200);
      assert.equal(await run.stat('cluster.logical.membership_total'), 1);
    },
    'both families': async (run) => {
      await becomes(run, 'both_families', '127.0.0.1 [::1]');
      await becomes(run, 'v4_preferred', '127.0.0.1');
      await becomes(run, 'auto_family', '[::1]');
    },
    'a name that cannot be resolved yet': async (run) => {
      assert.equal(await hosts(run, 'missing'), '');
      assert.equal(await ask(run, 'missing'), 503);
      assert.equal(await run.stat('cluster.missing.upstream_cx_none_healthy'), 1);
      assert.ok((await run.stat('cluster.missing.update_failure')) > 0);
      answers().failing.delete('missing.example');
      await becomes(run, 'missing', '127.0.0.1');
      assert.equal(await ask(run, 'missing'), 200);
    },
    'ORIGINAL_DST: a header names the host, which is forgotten when it has no connection': async (run) => {
      const to = `127.0.0.1:${run.backend('app').port}`;
      assert.equal(await ask(run, 'original', { 'x-envoy-original-dst-host': to }), 200);
      assert.equal(await hosts(run, 'original'), '127.0.0.1');
      assert.equal(await ask(run, 'original', { 'x-envoy-original-dst-host': 'nonsense' }), 503);
      assert.equal(await ask(run, 'original'), 503);
      // A connection that waits keeps its host.
      await new Promise((resolve) => setTimeout(resolve, 1200));
      assert.equal(await hosts(run, 'original'), '127.0.0.1');
      const last = { 'x-envoy-original-dst-host': to, 'x-want-header': 'connection: close' };
      assert.equal(await ask(run, 'original', last), 200);
      await becomes(run, 'original', '');
      assert.equal(await ask(run, 'named_header', { 'x-go-to': '127.0.0.1:1' }), 200);
    },
    'a cluster without hosts refuses': async (run) => {
      const answer = await run.get('/', { headers: { cluster: 'black_hole' } });
      assert.equal(answer.status, 503);
      assert.equal(answer.body, 'no healthy upstream');
    },
  },
});
