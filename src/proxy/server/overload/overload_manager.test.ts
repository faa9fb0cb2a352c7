import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JsonValue, fromJson } from '@bufbuild/protobuf';
import { OverloadManagerSchema } from '#api/gen/envoy/config/overload/v3/overload_pb.ts';
import { LogLines, types } from '../testing.ts';
import type { OverloadRequest } from '../messages.ts';
import { type MonitorWorld, readMemoryLimit } from './monitors.ts';
import { OverloadManager } from './overload_manager.ts';

const heap = {
  name: 'heap',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig',
    max_heap_size_bytes: 1000,
  },
};

function make(
  config: JsonValue | undefined,
  world: Partial<MonitorWorld> = {},
): {
  manager: OverloadManager;
  log: LogLines;
  requests: OverloadRequest[];
  shrunk: () => number;
  clock: { ms: number };
} {
  const log = new LogLines();
  const requests: OverloadRequest[] = [];
  const clock = { ms: 0 };
  let shrunk = 0;
  const manager = new OverloadManager({
    config: config === undefined ? undefined : fromJson(OverloadManagerSchema, config, { registry: types }),
    world: { rss: () => 0, memoryLimit: undefined, connections: () => 0, readFile: () => '0', ...world },
    log: log.logger,
    onChange: (request) => requests.push(request),
    shrinkHeap: () => shrunk++,
    now: () => clock.ms,
  });
  return { manager, log, requests, shrunk: () => shrunk, clock };
}

function stats(manager: OverloadManager): Record<string, number> {
  return Object.fromEntries(
    manager
      .families()
      .map(({ name, series }) => [name.slice('envoy_overload_'.length), series[0]?.value ?? NaN]),
  );
}

test('an action goes on and off with its resource; each is one line', () => {
  let rss = 0;
  const { manager, log, requests } = make(
    {
      resource_monitors: [heap],
      actions: [
        {
          name: 'envoy.overload_actions.stop_accepting_requests',
          triggers: [{ name: 'heap', threshold: { value: 0.9 } }],
        },
      ],
    },
    { rss: () => rss },
  );
  for (rss of [100, 899]) manager.refresh();
  assert.equal(requests.length, 0);
  for (rss of [900, 950, 999]) manager.refresh();
  assert.deepEqual(
    requests.map((request) => request.stopAcceptingRequests),
    [1],
  );
  assert.equal(stats(manager)['heap.pressure'], 100);
  assert.equal(stats(manager)['envoy.overload_actions.stop_accepting_requests.active'], 1);
  for (rss of [100, 100]) manager.refresh();
  assert.deepEqual(
    requests.map((request) => request.stopAcceptingRequests),
    [1, 0],
  );
  assert.equal(log.lines.length, 2, log.lines.join(''));
  assert.match(
    log.lines[0] ?? '',
    /warn.*overload action begins action=envoy.overload_actions.stop_accepting_requests .*heap=0.900/,
  );
  assert.match(log.lines[1] ?? '', /info.*overload action ends/);
});

test('scaled triggers: nothing below, a share between, all above; the strongest trigger counts', () => {
  let rss = 0;
  const { manager, requests } = make(
    {
      resource_monitors: [heap],
      actions: [
        {
          name: 'envoy.overload_actions.disable_http_keepalive',
          triggers: [{ name: 'heap', scaled: { scaling_threshold: 0.5, saturation_threshold: 0.75 } }],
        },
      ],
    },
    { rss: () => rss },
  );
  for (rss of [500, 625, 750, 2000, 0]) manager.refresh();
  assert.deepEqual(
    requests.map((request) => request.disableHttpKeepalive),
    [0.5, 1, 0],
  );
});

test('a container with a memory limit is guarded without being asked', () => {
  let rss = 0;
  const { manager, requests, shrunk, clock } = make(undefined, { rss: () => rss, memoryLimit: 1000 });
  rss = 899;
  manager.refresh();
  assert.equal(shrunk(), 0);
  rss = 900;
  manager.refresh();
  manager.refresh();
  assert.equal(shrunk(), 1, 'not again at once');
  clock.ms += 10_000;
  manager.refresh();
  assert.equal(shrunk(), 2);
  rss = 975;
  manager.refresh();
  assert.deepEqual(requests.at(-1), {
    stopAcceptingRequests: 1,
    disableHttpKeepalive: 1,
    stopAcceptingConnections: false,
    rejectIncomingConnections: 0,
  });
});

test('a resource that cannot be read keeps its pressure and is counted', () => {
  let text = '0.5';
  const monitor = {
    name: 'file',
    typed_config: {
      '@type':
        'type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig',
      filename: '/f',
    },
  };
  const { manager, log } = make({ resource_monitors: [monitor] }, { readFile: () => text });
  manager.refresh();
  text = 'nothing';
  manager.refresh();
  manager.refresh();
  assert.equal(stats(manager)['file.pressure'], 50);
  assert.equal(stats(manager)['file.failed_updates'], 2);
  assert.equal(log.lines.length, 1);
});

test('what is not implemented or bad is refused by name', () => {
  const action = (name: string, trigger: JsonValue): JsonValue => ({
    resource_monitors: [heap],
    actions: [{ name, triggers: [trigger] }],
  });
  const on = { name: 'heap', threshold: { value: 1 } };
  for (const [config, message] of [
    [action('envoy.overload_actions.reduce_timeouts', on), /reduce_timeouts is not implemented/],
    [action('envoy.overload_actions.shrink_heap', { ...on, name: 'x' }), /unknown trigger resource x/],
    [action('envoy.overload_actions.shrink_heap', { name: 'heap' }), /neither threshold nor scaled/],
    [
      action('envoy.overload_actions.shrink_heap', {
        name: 'heap',
        scaled: { scaling_threshold: 0.9, saturation_threshold: 0.9 },
      }),
      /scaling_threshold must be below/,
    ],
    [{ resource_monitors: [heap, heap] }, /duplicate resource monitor/],
    [{ resource_monitors: [{ name: 'cpu' }] }, /resource monitor cpu .* is not implemented/],
    [{ loadshed_points: [{ name: 'p' }] }, /load shed point p is not implemented/],
  ] satisfies [JsonValue, RegExp][])
    assert.throws(() => make(config), message);
});

test('the memory limit of both versions of control groups', () => {
  const files = (content: Record<string, string>) => (path: string) => {
    const text = content[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
  assert.equal(readMemoryLimit(files({ '/sys/fs/cgroup/memory.max': '1048576\n' })), 1048576);
  assert.equal(readMemoryLimit(files({ '/sys/fs/cgroup/memory.max': 'max\n' })), undefined);
  assert.equal(
    readMemoryLimit(files({ '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n' })),
    undefined,
  );
  assert.equal(readMemoryLimit(files({})), undefined);
});
