/**
 * Fails when an import runs against the direction of docs/architecture.md, when an import across top folders is not
 * written `#folder/...`, or when code outside bin/ and cli/ reads the environment. Run by `npm run lint`.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

/** Top folders; a folder imports only folders of a lower rank, or itself. */
const ranks: Record<string, number> = {
  base: 1,
  api: 2,
  telemetry: 3,
  capture: 3,
  kube: 4,
  security: 5,
  config: 5,
  xds: 5,
  inject: 6,
  pilot: 7,
  agent: 7,
  proxy: 7,
  cni: 7,
  local: 8,
  install: 8,
  cli: 9,
};

/** Folders inside src/proxy in order; the same rule. `extensions.ts` and `server` may import all. */
const proxyRanks: Record<string, number> = {
  'registry.ts': 1,
  'factory_context.ts': 5.5,
  network: 2,
  stream_info: 3,
  http: 4,
  cel: 4.5,
  upstream: 5,
  load_balancing_policies: 6,
  router: 6,
  transport_sockets: 7,
  access_loggers: 7,
  tracers: 7,
  filters: 8,
  listener_manager: 9,
  config: 10,
  admin: 11,
  'extensions.ts': 12,
  server: 13,
};

/** One-file exceptions: importer -> allowed top folder. */
const exceptions: Record<string, string> = { 'src/agent/data_plane/built_in.ts': 'proxy' };

const importPattern =
  /(?:^|[\s;}])(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)import\s*['"]([^'"]+)['"]/g;
const problems: string[] = [];

function topFolder(file: string): string {
  return file.split(sep)[1] ?? '';
}

function proxyPart(file: string): string {
  return file.split(sep)[2] ?? '';
}

for (const file of globSync('src/**/*.ts')) {
  if (file.startsWith(join('src', 'api', 'gen'))) continue;
  const text = readFileSync(file, 'utf8');
  const from = topFolder(file);
  const isTest = file.endsWith('.test.ts');
  if (!isTest && from !== 'cli' && /\bprocess\.(env|argv)\b/.test(text)) {
    problems.push(`${file}: reads process.env or process.argv (only bin/ and src/cli/ may)`);
  }
  for (const match of text.matchAll(importPattern)) {
    const specifier = match[1] ?? match[2] ?? match[3] ?? '';
    let target: string;
    if (specifier.startsWith('#')) target = join('src', specifier.slice(1));
    else if (specifier.startsWith('.')) target = relative('.', join(dirname(file), specifier));
    else continue;
    const to = topFolder(target);
    if (!target.startsWith('src')) {
      if (!isTest) problems.push(`${file}: imports ${specifier}, outside src/`);
      continue;
    }
    if (from !== to && specifier.startsWith('.')) {
      problems.push(`${file}: write '#${target.slice(4)}' in place of '${specifier}'`);
    }
    if (from !== to) {
      const a = ranks[from];
      const b = ranks[to];
      if (a === undefined || b === undefined) problems.push(`${file}: unknown top folder in ${specifier}`);
      else if (b >= a && exceptions[file] !== to && !isTest) {
        problems.push(`${file}: ${from} must not import ${to} (${specifier})`);
      }
    } else if (from === 'proxy' && !isTest) {
      const a = proxyRanks[proxyPart(file)];
      const b = proxyRanks[proxyPart(target)];
      if (a === undefined || b === undefined)
        problems.push(`${file}: unknown folder of proxy in ${specifier}`);
      else if (b > a || (b === a && proxyPart(file) !== proxyPart(target))) {
        problems.push(`${file}: proxy/${proxyPart(file)} must not import proxy/${proxyPart(target)}`);
      }
    }
  }
}

if (problems.length > 0) {
  console.error(problems.join('\n'));
  console.error(`direction: ${problems.length} problems`);
  process.exit(1);
}
console.log('direction: ok');
