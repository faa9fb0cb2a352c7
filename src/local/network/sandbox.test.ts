/** The sandbox with real namespaces, as root and as an ordinary user. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runToEnd, sandboxRuns } from './sandbox_harness.ts';

const preamble = `
  import assert from 'node:assert/strict';
  import { openSandbox } from modules('sandbox.ts');
  const open = (command, args, options = {}) => openSandbox({ command, args, env: {}, ...options });
  const outputOf = async (sandbox) => {
    let text = '';
    for await (const piece of sandbox.child.stdout.setEncoding('utf8')) text += piece;
    return text.trim();
  };`;

/** What of the machine still belongs to a sandbox. */
function remains(namespaces: readonly string[], marker: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const links = ['net', 'mnt', 'pid'].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return links.some((link) => namespaces.includes(link)) || command.includes(marker);
      } catch {
        return false;
      }
    });
}

for (const run of await sandboxRuns(process.env['CI'] === 'true')) {
  const options = { skip: run.skip, timeout: 40_000 };

  test(`a command in a sandbox: output, exit code, signals (${run.name})`, options, () =>
    runToEnd(
      run.start(`${preamble}
        const links = await open('ip', ['-o', 'link']);
        assert.match(await outputOf(links), /^1: lo:[^\\n]*$/);
        assert.equal(await links.exited, 0);
        assert.equal(links.rootless, process.getuid() !== 0);

        const user = await open('sh', ['-c', 'id -u; id -g; exit 3']);
        assert.equal(await outputOf(user), '0\\n0');
        assert.equal(await user.exited, 3);

        const input = await open('cat', []);
        input.child.stdin.end('through');
        assert.equal(await outputOf(input), 'through');

        const waiting = await open('sh', ['-c', 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done']);
        await new Promise((resolve) => waiting.child.stdout.once('data', resolve));
        waiting.signal('TERM');
        assert.equal(await waiting.exited, 5);

        const stubborn = await open('sh', ['-c', 'trap "" TERM; echo up; sleep 1000']);
        await new Promise((resolve) => stubborn.child.stdout.once('data', resolve));
        stubborn.destroy();
        assert.equal(await stubborn.exited, 137);

        await assert.rejects((await open('sh', ['-c', 'exit 0'], { cwd: '/no/such/folder' })).exited);
      `),
    ),
  );

  test(`orphans are reaped (${run.name})`, options, () =>
    runToEnd(
      run.start(`${preamble}
        const sandbox = await open('sh', ['-c', '(sleep 0.1 & sleep 0.1 &) ; sleep 0.4; grep -l "^State:.Z" /proc/[0-9]*/status; true']);
        assert.equal(await outputOf(sandbox), '');`),
    ),
  );

  test(`nothing is left one second after the opener was killed (${run.name})`, options, async () => {
    const marker = `98765.${process.pid}`;
    const { child, cleanup } = run.start(`${preamble}
      const inner = \`
        import { createNodeNetwork } from \${JSON.stringify(modules('node_network.ts'))};
        import { silentLogger } from \${JSON.stringify(modules('../../base/log.ts'))};
        import { readlinkSync } from 'node:fs';
        const network = await createNodeNetwork(silentLogger);
        const pod = await network.createPod({ name: 'a', namespace: 'default' });
        pod.spawn('sh', ['-c', 'trap "" TERM HUP; setsid sleep ${marker} & sleep ${marker}'], { env: {}, stdio: 'ignore' });
        const links = ['self/ns/net', 'self/ns/mnt', 'self/ns/pid'].map((name) => readlinkSync('/proc/' + name));
        console.log(JSON.stringify([...links, readlinkSync(pod.networkNamespace)]));
        setInterval(() => {}, 1000);\`;
      const sandbox = await open(process.execPath, ['--input-type=module', '-e', inner], { stdio: 'inherit' });
      await sandbox.exited;`);
    const namespaces = await new Promise<string[]>((resolve, reject) => {
      let errors = '';
      child.stderr?.on('data', (text: Buffer) => (errors += text.toString()));
      child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(line.toString()) as string[]));
      child.once('exit', () => reject(new Error(errors)));
    });
    assert.equal(namespaces.length, 4);
    while (remains([], marker).length < 2) await delay(10);
    child.kill('SIGKILL');
    await delay(1000);
    assert.deepEqual(remains(namespaces, marker), []);
    cleanup();
  });
}
