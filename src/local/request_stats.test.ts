import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryStore } from '#config/store/memory.ts';
import { createAppCommands, matchesImage } from './app_commands.ts';
import { checkMutualTls, checkSpread, checkStatuses, subtractCounts } from './check.ts';
import { formatRates, parseRequests, RequestStats, type RequestCount } from './request_stats.ts';

function line(labels: Record<string, string>, value: number): string {
  const text = Object.entries({ reporter: 'destination', destination_app: 'reviews', ...labels }).map(
    ([k, v]) => `${k}="${v}"`,
  );
  return `istio_requests_total{${text.join(',')}} ${value}`;
}

const count = (version: string, value: number, security = 'mutual_tls'): RequestCount => ({
  workload: `reviews-${version}`,
  app: 'reviews',
  version,
  code: '200',
  security,
  source: 'productpage-v1',
  value,
});

test('only what servers report is read, with escaped label values', () => {
  const page = [
    '# TYPE istio_requests_total counter',
    line({ destination_version: 'v1', response_code: '200', source_workload: 'a\\"b}' }, 3),
    line({ reporter: 'source' }, 9),
    'other{reporter="destination"} 1',
  ].join('\n');
  assert.deepEqual(
    parseRequests(page).map(({ version, code, value }) => [version, code, value]),
    [['v1', '200', 3]],
  );
});

test('rates are differences, and a sidecar that starts again counts from zero', () => {
  const stats = new RequestStats();
  stats.update([count('v1', 100), count('v2', 100)]);
  const rates = stats.update([count('v1', 130), count('v2', 10)]);
  assert.deepEqual(rates.shares, [
    {
      app: 'reviews',
      versions: [
        { version: 'v1', share: 0.75 },
        { version: 'v2', share: 0.25 },
      ],
    },
  ]);
  assert.match(formatRates(rates), /requests\/s {3}reviews v1 75 % v2 25 % {3}errors 0\.0 %$/);
});

test('checks: statuses, spread with and without weights, mutual TLS', () => {
  assert.deepEqual(
    checkStatuses(
      new Map([
        [200, 199],
        [0, 1],
      ]),
      200,
    ),
    { ok: false, text: '199 of 200 requests answered 200 (no answer: 1)' },
  );
  const even = createMemoryStore();
  assert.equal(checkSpread(even, [count('v1', 70), count('v2', 60), count('v3', 70)])[0]!.ok, true);
  assert.equal(checkSpread(even, [count('v1', 100), count('v2', 0)])[0]!.ok, false);
  const meta = {
    namespace: 'default',
    labels: {},
    annotations: {},
    creationTimestamp: 0,
    resourceVersion: '1',
  };
  const weighted = createMemoryStore({
    resources: [
      {
        apiVersion: 'networking.istio.io/v1',
        kind: 'VirtualService',
        metadata: { ...meta, name: 'reviews' },
        body: {
          spec: {
            hosts: ['reviews'],
            http: [
              {
                route: [
                  { destination: { host: 'reviews', subset: 'one' }, weight: 90 },
                  { destination: { host: 'reviews', subset: 'two' }, weight: 10 },
                ],
              },
            ],
          },
        },
      },
      {
        apiVersion: 'networking.istio.io/v1',
        kind: 'DestinationRule',
        metadata: { ...meta, name: 'reviews' },
        body: {
          spec: {
            host: 'reviews',
            subsets: [
              { name: 'one', labels: { version: 'v1' } },
              { name: 'two', labels: { version: 'v2' } },
            ],
          },
        },
      },
    ],
  });
  assert.equal(checkSpread(weighted, [count('v1', 180), count('v2', 20), count('v3', 0)])[0]!.ok, true);
  assert.equal(checkSpread(weighted, [count('v1', 100), count('v2', 100)])[0]!.ok, false);
  assert.equal(checkMutualTls([count('v1', 5)]).ok, true);
  assert.equal(checkMutualTls([count('v1', 5), count('v2', 1, 'none')]).ok, false);
  assert.equal(checkMutualTls([]).ok, false);
});

test('differences of two readings', () => {
  assert.deepEqual(
    subtractCounts([count('v1', 7), count('v2', 3)], [count('v1', 5), count('v2', 3)]).map(
      ({ value }) => value,
    ),
    [2],
  );
});

test('images find their command by pattern, and words know where to listen', () => {
  assert.equal(matchesImage('docker.io/*/reviews-*:*', 'docker.io/istio/reviews-v1:1.20'), true);
  assert.equal(matchesImage('a:*', 'ab:1'), false);
  assert.equal(matchesImage('a*b', 'ab'), true);
  assert.equal(matchesImage('ab*b', 'ab'), false);
  const apps = createAppCommands(
    [
      {
        image: 'a:*',
        command: ['node', 'a.ts', '${PORT}'],
        env: { WHERE: '${HOST}:${PORT}' },
        directory: '/x',
      },
    ],
    '/bin/node26',
    { PATH: '/bin' },
  );
  assert.deepEqual(apps.find({ name: 'c', image: 'a:1' }, { HOST: '127.0.0.1', PORT: '5' }), {
    command: ['/bin/node26', 'a.ts', '5'],
    env: { PATH: '/bin', HOST: '127.0.0.1', PORT: '5', WHERE: '127.0.0.1:5' },
    cwd: '/x',
  });
  assert.equal(apps.find({ name: 'c', image: 'b' }, { HOST: '', PORT: '' }), undefined);
});
