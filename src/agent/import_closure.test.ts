import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('..', import.meta.url));

/** Files and packages that a module brings along by static imports. */
function closure(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    const text = readFileSync(file, 'utf8');
    const imports = text.matchAll(/^(?:import|export)\s+(?!type\b)(?:[^'"]*?from\s*)?['"]([^'"]+)['"]/gm);
    for (const [, specifier = ''] of imports) {
      if (specifier.startsWith('#')) visit(join(source, specifier.slice(1)));
      else if (specifier.startsWith('.')) visit(join(dirname(file), specifier));
      else if (specifier === 'node:http' || !specifier.startsWith('node:'))
        packages.add(specifier.split('/').slice(0, 2).join('/'));
    }
  };
  visit(join(source, entry));
  return { files, packages };
}

test('an agent loads protobuf, and no logger, server library, JWT library or other data plane', () => {
  const { files, packages } = closure('agent/agent.ts');
  assert.deepEqual([...packages].sort(), ['@bufbuild/protobuf']);
  const names = [...files].map((file) => file.slice(source.length));
  for (const unwanted of [
    'agent/data_plane/envoy.ts',
    'api/registry.ts',
    'security/ca/certificate_authority.ts',
  ]) {
    assert.ok(!names.includes(unwanted), unwanted);
  }
  assert.ok(!names.some((name) => name.startsWith('proxy/') || name.startsWith('pilot/')));
});
