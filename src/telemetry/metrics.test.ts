import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeSnapshots, MetricsRegistry } from './metrics.ts';
import { toPrometheusText } from './prometheus_text.ts';

test('series of two registries add up on one page', () => {
  const a = new MetricsRegistry();
  const b = new MetricsRegistry();
  a.counter('istio_requests_total', { reporter: 'source', app: 'a"b' }, 'requests').inc();
  b.counter('istio_requests_total', { reporter: 'source', app: 'a"b' }).inc(2);
  for (const registry of [a, b]) {
    registry.histogram('ms', { x: '1' }, '', [1, 5]).observe(3);
    registry.histogram('ms', { x: '1' }).observe(100);
  }
  assert.equal(
    toPrometheusText(mergeSnapshots([a.snapshot(), b.snapshot()])),
    [
      '# HELP istio_requests_total requests',
      '# TYPE istio_requests_total counter',
      'istio_requests_total{reporter="source",app="a\\"b"} 3',
      '# TYPE ms histogram',
      'ms_bucket{x="1",le="1"} 0',
      'ms_bucket{x="1",le="5"} 2',
      'ms_bucket{x="1",le="+Inf"} 4',
      'ms_sum{x="1"} 206',
      'ms_count{x="1"} 4',
      '',
    ].join('\n'),
  );
});

test('the same name and labels give the same handle, another type is refused', () => {
  const registry = new MetricsRegistry();
  assert.equal(registry.counter('c', { a: '1' }), registry.counter('c', { a: '1' }));
  assert.throws(() => registry.gauge('c'), /metric c is a counter/);
});

test('the number of series is bounded and removal frees a place', () => {
  const registry = new MetricsRegistry(1);
  registry.gauge('g', { a: '1' }).set(1);
  registry.gauge('g', { a: '2' }).set(2);
  assert.equal(registry.droppedSeries, 1);
  registry.remove('g', { a: '1' });
  registry.gauge('g', { a: '3' }).set(3);
  assert.equal(toPrometheusText(registry.snapshot()), '# TYPE g gauge\ng{a="3"} 3\n');
});

test('names of statistics with dots become names that Prometheus takes', () => {
  const registry = new MetricsRegistry();
  registry.gauge('envoy_overload_envoy.overload_actions.shrink_heap.active').set(1);
  assert.equal(
    toPrometheusText(registry.snapshot()),
    '# TYPE envoy_overload_envoy_overload_actions_shrink_heap_active gauge\n' +
      'envoy_overload_envoy_overload_actions_shrink_heap_active 1\n',
  );
});
