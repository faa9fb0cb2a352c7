import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  type OutlierDetection,
  OutlierDetectionSchema,
} from '#api/gen/envoy/config/cluster/v3/outlier_detection_pb.ts';
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import { rawBufferUpstream } from '../network/raw_buffer.ts';
import { type Counts, SharedCounts } from '../network/shared_counts.ts';
import { UpstreamHost } from './host.ts';
import { OutlierDetector } from './outlier_detection.ts';

type Init = Partial<Omit<OutlierDetection, '$typeName' | '$unknown'>>;

function setUp(init: Init, count: number, shared?: Counts) {
  const changes: UpstreamHost[] = [];
  const lines: string[] = [];
  const detector = new OutlierDetector(create(OutlierDetectionSchema, init as never), {
    onChange: (host) => changes.push(host),
    clusterName: 'c',
    shared,
    log: (line) => lines.push(line),
    random: () => 0.5,
  });
  const hosts = Array.from({ length: count }, (_, i) => {
    const address = { ip: `10.0.0.${i + 1}`, port: 80 };
    const locality = { region: '', zone: '', subZone: '' };
    const host = new UpstreamHost(address, '', undefined, locality, 0, 1, rawBufferUpstream);
    detector.add(host);
    return host;
  });
  return { detector, hosts, changes, lines };
}

function answers(host: UpstreamHost | undefined, status: number, times: number): void {
  for (let i = 0; i < times; i++) host?.report({ kind: 'http', status, localOrigin: false });
}

test('failures in a row are those of all workers, and all take the host out', (t) => {
  const buffer = SharedCounts.allocate(2, 64);
  const init = { consecutive5xx: 4, maxEjectionPercent: 100 };
  const [one, two] = [0, 1].map((worker) => setUp(init, 2, new SharedCounts(buffer, 2, worker)));
  t.after(() => {
    one?.detector.close();
    two?.detector.close();
  });
  answers(one?.hosts[0], 500, 2);
  answers(two?.hosts[0], 500, 1);
  assert.equal(one?.hosts[0]?.healthy, true);
  answers(two?.hosts[0], 500, 1);
  assert.equal(two?.hosts[0]?.healthy, false);
  // The other hears of it with the next answer, and does not count it again.
  answers(one?.hosts[0], 200, 1);
  assert.equal(one?.hosts[0]?.healthy, false);
  assert.equal(one?.detector.stats.ejectionsEnforcedTotal, 0);
  assert.equal(two?.detector.stats.ejectionsEnforcedTotal, 1);
  assert.equal(two?.lines.length, 1);
});

test('a success in between starts the count anew, on any worker', (t) => {
  const buffer = SharedCounts.allocate(2, 64);
  const [one, two] = [0, 1].map((worker) =>
    setUp({ consecutive5xx: 2 }, 1, new SharedCounts(buffer, 2, worker)),
  );
  t.after(() => {
    one?.detector.close();
    two?.detector.close();
  });
  answers(one?.hosts[0], 500, 1);
  answers(two?.hosts[0], 200, 1);
  answers(one?.hosts[0], 500, 1);
  assert.equal(one?.detector.stats.detected.CONSECUTIVE_5XX, 0);
});

test('a host that succeeds far less often than the others goes at the end of the interval', (t) => {
  const { detector, hosts, changes } = setUp(
    {
      successRateMinimumHosts: 3,
      successRateRequestVolume: 10,
      successRateStdevFactor: 1000,
      maxEjectionPercent: 100,
      consecutive5xx: 1000,
    },
    5,
  );
  t.after(() => detector.close());
  for (const host of hosts.slice(1)) answers(host, 200, 20);
  answers(hosts[0], 200, 10);
  answers(hosts[0], 500, 10);
  detector.sweep();
  assert.deepEqual(changes, [hosts[0]]);
  assert.equal(detector.stats.enforced.SUCCESS_RATE, 1);
  assert.equal(hosts[0]?.monitor?.successRate, 50);
  // Too few requests: nobody is judged.
  for (const host of hosts) answers(host, 500, 5);
  detector.sweep();
  assert.equal(detector.stats.enforced.SUCCESS_RATE, 1);
  assert.equal(hosts[1]?.monitor?.successRate, -1);
});

test('a share of failures, and the half that chance enforces', (t) => {
  const init = {
    failurePercentageThreshold: 50,
    failurePercentageMinimumHosts: 1,
    failurePercentageRequestVolume: 10,
    maxEjectionPercent: 100,
    consecutive5xx: 1000,
    enforcingSuccessRate: 0,
  };
  for (const [enforcingFailurePercentage, enforced] of [
    [50, 0],
    [51, 1],
  ] as const) {
    const { detector, hosts } = setUp({ ...init, enforcingFailurePercentage }, 1);
    t.after(() => detector.close());
    answers(hosts[0], 200, 10);
    answers(hosts[0], 503, 10);
    detector.sweep();
    assert.equal(detector.stats.detected.FAILURE_PERCENTAGE, 1);
    assert.equal(detector.stats.enforced.FAILURE_PERCENTAGE, enforced);
  }
});

test('connections alone count for TCP, not for HTTP', (t) => {
  const { detector, hosts } = setUp({ consecutive5xx: 2, maxEjectionPercent: 100 }, 1);
  t.after(() => detector.close());
  hosts[0]?.report({ kind: 'connect_failure' });
  hosts[0]?.report({ kind: 'connect_success', final: true });
  hosts[0]?.report({ kind: 'connect_failure' });
  assert.equal(hosts[0]?.healthy, true);
  hosts[0]?.report({ kind: 'connect_success' });
  hosts[0]?.report({ kind: 'connect_failure' });
  assert.equal(hosts[0]?.healthy, false);
});

test('answers can degrade a host: once at a time, and not while it is out', (t) => {
  const { detector, hosts, changes, lines } = setUp(
    { detectDegradedHosts: true, consecutive5xx: 1, maxEjectionPercent: 100 },
    2,
  );
  t.after(() => detector.close());
  const [first, second] = hosts;
  first?.onDegraded?.();
  first?.onDegraded?.();
  assert.equal(first?.degraded, true);
  assert.equal(first?.healthStatus, HealthStatus.DEGRADED);
  answers(second, 500, 1);
  second?.onDegraded?.();
  assert.equal(second?.degraded, false);
  assert.equal(detector.stats.detectedDegradation, 1);
  assert.equal(lines.filter((line) => line.includes('"DEGRADED"')).length, 1);
  assert.deepEqual(changes, [first, second]);
  answers(first, 500, 1);
  assert.equal(first?.degraded, false, 'a host that is out is out');
});

test('only those who ask hear of degraded answers', (t) => {
  const { detector, hosts } = setUp({}, 1);
  t.after(() => detector.close());
  assert.equal(hosts[0]?.onDegraded, undefined);
});

test('what is not implemented is refused by name', () => {
  assert.throws(() => setUp({ monitors: [{}] } as never, 0), /outlier_detection.monitors/);
});
