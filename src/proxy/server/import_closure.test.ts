import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const importPattern =
  /(?:^|[\s;}])(?:import|export)\s+(?!type\b)[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)import\s*['"]([^'"]+)['"]/g;

/** Threads of their own, which end with their work: what they load is not part of the proxy. */
const threadEntries = ['src/proxy/admin/config_dump.ts'];

/** Extensions with types that no other part has: not followed where they are loaded when a configuration names them. */
const lazyExtensions = ['src/proxy/access_loggers/open_telemetry/config.ts'];

/** Files and packages that `entries` load, followed through imports of values; dynamic imports count. */
function closure(entries: readonly string[]): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const open = [...entries];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    for (const match of readFileSync(join(root, file), 'utf8').matchAll(importPattern)) {
      const specifier = match[1] ?? match[2] ?? match[3] ?? '';
      if (specifier.startsWith('#')) open.push(join('src', specifier.slice(1)));
      else if (specifier.startsWith('.')) {
        const target = relative(root, join(root, dirname(file), specifier));
        if (match[2] === undefined || !lazyExtensions.includes(target)) open.push(target);
      }
      // An import of node:http brings undici along: base/node_http.ts.
      else if (specifier === 'node:http') packages.add(specifier);
      else if (!specifier.startsWith('node:')) {
        const parts = specifier.split('/');
        packages.add(specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? ''));
      }
    }
  }
  for (const entry of threadEntries) files.delete(entry);
  return { files, packages };
}

test('a sidecar loads what it needs and no more', () => {
  const { files, packages } = closure(['src/proxy/server/main.ts', 'src/proxy/server/worker_main.ts']);
  assert.deepEqual([...packages].sort(), ['@bufbuild/protobuf', 'xxhash-wasm']);
  assert.ok(!files.has('src/api/registry.ts'), 'the registry of all types costs 50 MB');
  assert.ok(!files.has('src/api/gen/all_files.ts'));
  const foreign = [...files].filter((file) =>
    /^src\/(?:pilot|agent|config|security|local|cli|kube)\//.test(file),
  );
  assert.deepEqual(foreign, []);
  // Types that a data plane without such a filter has no use for.
  assert.deepEqual(
    [...files].filter((file) => /gen\/(?:opentelemetry|istio)\//.test(file)),
    ['src/api/gen/istio/envoy/config/filter/http/alpn/v2alpha1/config_pb.ts'],
  );
});

test('the test sees what is not wanted', () => {
  const { packages } = closure(['src/xds/server/grpc_server.ts']);
  assert.ok(packages.has('@connectrpc/connect'));
});
