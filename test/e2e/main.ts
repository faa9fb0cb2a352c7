/**
 * `npm run e2e`: the mesh on a real Kubernetes cluster, from installation to removal, with kubectl as a person would.
 *
 *   KUBECONFIG           the cluster; nobody else may use Istio's kinds in it
 *   TRYSAIL_E2E_LOAD     a command that brings an image archive to the nodes; the archive's path is put behind it
 *
 *   node test/e2e/main.ts [--image FILE]     an image of `npm run image`; default: it is built
 *                         [--only NAME]...   only cases whose name has this text, and those of "install"
 *
 * Closes with `N passed, N failed, N skipped`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packImages, program } from './images.ts';

const root = join(import.meta.dirname, '..', '..');
const { values: flags } = parseArgs({
  options: { image: { type: 'string' }, only: { type: 'string', multiple: true } },
});
const loader = process.env['TRYSAIL_E2E_LOAD'];

function refuse(why: string): never {
  console.error(`e2e: ${why}`);
  process.exit(2);
}

function sh(what: string, command: string, args: readonly string[]): void {
  const begun = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) refuse(`${what}: exit code ${status}`);
  console.log(`${what}: ${((performance.now() - begun) / 1000).toFixed(1)} s`);
}

function load(file: string): void {
  sh(`load ${file}`, 'sh', ['-c', `${loader} "$0"`, file]);
}

if (process.env['KUBECONFIG'] === undefined) refuse('KUBECONFIG is not set');
if (loader === undefined)
  refuse('TRYSAIL_E2E_LOAD is not set: a command that loads an image archive into the cluster');
if (program('kubectl') === undefined) refuse('kubectl is not on the PATH');
const found = spawnSync('kubectl', ['get', 'namespace', 'istio-system', '-o', 'name', '--ignore-not-found']);
if (found.status !== 0) refuse(`no answer from the cluster: ${found.stderr.toString().trim()}`);
if (found.stdout.length > 0)
  refuse('namespace istio-system is there: the suite installs and removes its own mesh');

const work = mkdtempSync(join(tmpdir(), 'trysail-e2e-'));
try {
  const image = flags.image ?? join(work, 'image.tar');
  if (flags.image === undefined)
    sh('build the image', process.execPath, [join(root, 'scripts/image/build.ts'), '--out', image]);
  else if (!existsSync(image)) refuse(`--image: ${image} is not there`);
  load(image);
  const workloads = join(work, 'workloads.tar');
  packImages(workloads);
  load(workloads);

  const begun = performance.now();
  const only = flags.only === undefined ? [] : ['install', ...flags.only];
  const child = spawn(
    process.execPath,
    [
      '--test',
      '--test-reporter=spec',
      '--test-isolation=none',
      ...only.map((name) => `--test-name-pattern=${name}`),
      join(import.meta.dirname, 'all.ts'),
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    process.stdout.write(chunk);
  });
  const [status] = (await once(child, 'close')) as [number | null];
  const count = (name: string): number => Number(new RegExp(`^ℹ ${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const passed = count('pass');
  let failed = count('fail') + count('cancelled');
  if (failed === 0 && (status !== 0 || passed === 0)) failed = 1;
  console.log(`end to end: ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  console.log(`${passed} passed, ${failed} failed, ${count('skipped')} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
