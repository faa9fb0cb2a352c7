/** Pages on profilers that Envoy is built with and we are not: they answer as an Envoy without them. */
import { type AdminPage, text } from './page.ts';

function profiler(path: string, help: string, name: string): AdminPage {
  return {
    path,
    help,
    changes: true,
    parameters: [{ name: 'enable', help: 'enable/disable the profiler; One of (y, n)' }],
    answer(_state, { query }) {
      const enable = query.get('enable');
      if (enable !== 'y' && enable !== 'n') return text('?enable=<y|n>\n', 400);
      return text(`The current build does not support ${name} profiler`, 501);
    },
  };
}

function dump(path: string, help: string): AdminPage {
  return {
    path,
    help,
    changes: false,
    answer: () => text('Heap dump is not supported in current build', 501),
  };
}

export const allocProfiler: AdminPage = profiler(
  '/allocprofiler',
  'enable/disable the allocation profiler (if supported)',
  'allocation',
);
export const cpuProfiler: AdminPage = profiler('/cpuprofiler', 'enable/disable the CPU profiler', 'CPU');
export const heapProfiler: AdminPage = profiler('/heapprofiler', 'enable/disable the heap profiler', 'heap');
export const heapDump: AdminPage = dump('/heap_dump', 'dump current heap (if supported)');
export const peakHeapDump: AdminPage = dump('/peak_heap_dump', 'dump peak heap (if supported)');

export const contention: AdminPage = {
  path: '/contention',
  help: 'dump current mutex contention stats (if enabled)',
  changes: false,
  answer: () =>
    text('Mutex contention tracing is not enabled. To enable, run Envoy with flag --enable-mutex-tracing.'),
};

export const memoryAllocator: AdminPage = {
  path: '/memory/tcmalloc',
  help: 'print stats of the allocator',
  changes: false,
  answer: () => text('the allocator has no statistics of its own, see /memory\n', 501),
};
