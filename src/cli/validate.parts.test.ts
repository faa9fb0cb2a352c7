import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { text } from 'node:stream/consumers';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trysail-validate-'));
  await writeFile(join(folder, 'good.yaml'), 'apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n');
  await writeFile(
    join(folder, 'bad.yaml'),
    'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec:\n  mtls: {mode: STRICTLY}\n',
  );
  await writeFile(join(folder, 'strange.yaml'), 'apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\n');
});
after(() => rm(folder, { recursive: true }));

async function run(
  args: readonly string[],
  input = '',
): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = `
    import { Command } from 'commander';
    import { validateCommand } from ${JSON.stringify(join(import.meta.dirname, 'validate.ts'))};
    await validateCommand({}).parseAsync(${JSON.stringify(args)}, { from: 'user' });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: import.meta.dirname });
  child.stdin.end(input);
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number>((resolve) => child.once('exit', (status) => resolve(status ?? -1))),
  ]);
  return { code, stdout: stdout.replaceAll(`${folder}/`, ''), stderr: stderr.replaceAll(`${folder}/`, '') };
}

it('names valid files', async () => {
  assert.deepEqual(await run(['-f', join(folder, 'good.yaml')]), {
    code: 0,
    stdout: '"good.yaml" is valid\n',
    stderr: '',
  });
});

it('lists what is wrong, in a folder too, and exits with 1', async () => {
  const { code, stdout, stderr } = await run(['-f', folder]);
  assert.equal(code, 1);
  assert.equal(
    stderr,
    'Error: 1 error occurred:\n\t* PeerAuthentication//p: bad.yaml:5:16: spec.mtls.mode: expected one of UNSET, DISABLE, PERMISSIVE, STRICT, found "STRICTLY"; did you mean STRICT?\n\n',
  );
  assert.equal(
    stdout,
    '"strange.yaml" has warnings: \n\t* strange.yaml:1:1: kind Job of batch/v1 is not supported yet: ignored\n\n',
  );
});

it('reads standard input', async () => {
  const { code, stdout } = await run(['-f', '-'], 'apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n');
  assert.deepEqual([code, stdout], [0, 'stdin is valid\n']);
});

it('reports a file that does not exist', async () => {
  const { code, stderr } = await run(['-f', join(folder, 'none.yaml')]);
  assert.deepEqual(
    [code, stderr],
    [1, 'Error: 1 error occurred:\n\t* none.yaml: no such file or folder\n\n'],
  );
});
