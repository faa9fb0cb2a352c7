/** For tests: programs of `sandbox.parts.test.ts`. `outside` opens sandboxes, `inside` is run in them. */
import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { silentLogger } from '#base/log.ts';
import { createNodeNetwork } from './node_network.ts';
import { openSandbox } from './sandbox.ts';
import type { Sandbox, SandboxOptions } from './sandbox.ts';
import { firstOutput, nodeCall } from './sandbox_harness.ts';

function open(command: string, args: string[], options: Partial<SandboxOptions> = {}): Promise<Sandbox> {
  return openSandbox({ command, args, env: {}, ...options });
}

async function outputOf({ child }: Sandbox): Promise<string> {
  let text = '';
  for await (const piece of child.stdout?.setEncoding('utf8') ?? []) text += String(piece);
  return text.trim();
}

export const outside = {
  async commands() {
    const links = await open('ip', ['-o', 'link']);
    assert.match(await outputOf(links), /^1: lo:[^\n]*$/);
    assert.equal(await links.exited, 0);
    assert.equal(links.rootless, process.getuid?.() !== 0);

    const user = await open('sh', ['-c', 'id -u; id -g; exit 3']);
    assert.equal(await outputOf(user), '0\n0');
    assert.equal(await user.exited, 3);

    const input = await open('cat', []);
    input.child.stdin?.end('through');
    assert.equal(await outputOf(input), 'through');

    await assert.rejects(open('true', [], { cwd: '/no/such/folder' }), { name: 'SandboxError' });
    assert.equal(await (await open('/no/such/program', [])).exited, 127);
  },

  async signals() {
    const willing = await open('sh', ['-c', 'trap "exit 5" TERM; echo up; while :; do sleep 0.05; done']);
    await firstOutput(willing.child);
    willing.signal('TERM');
    assert.equal(await willing.exited, 5);

    const stubborn = await open('sh', ['-c', 'trap "" TERM; echo up; sleep 1000']);
    await firstOutput(stubborn.child);
    stubborn.destroy();
    assert.equal(await stubborn.exited, 137);
  },

  async orphans() {
    const findZombies = 'grep -l "^State:.Z" /proc/[0-9]*/status; true';
    const sandbox = await open('sh', ['-c', `(sleep 0.1 & sleep 0.1 &) ; sleep 0.4; ${findZombies}`]);
    assert.equal(await outputOf(sandbox), '');
  },

  async untilKilled() {
    const args = nodeCall('sandbox_scenarios.ts', 'inside.untilKilled');
    await (
      await open(process.execPath, args, { stdio: 'inherit' })
    ).exited;
  },
};

/** A time to sleep by which the processes of `untilKilled` are known. */
export const untilKilledMarker = '98765.4321';

export const inside = {
  /** Prints its namespaces and has processes that hear no signals. */
  async untilKilled() {
    const network = await createNodeNetwork(silentLogger);
    const pod = await network.createPod({ name: 'a', namespace: 'default' });
    const script = `trap "" TERM HUP; setsid sleep ${untilKilledMarker} & sleep ${untilKilledMarker}`;
    pod.spawn('sh', ['-c', script], { env: {}, stdio: 'ignore' });
    const own = ['net', 'mnt', 'pid'].map((kind) => readlinkSync(`/proc/self/ns/${kind}`));
    console.log(JSON.stringify([...own, readlinkSync(pod.networkNamespace)]));
    await new Promise(() => setInterval(() => {}, 1000));
  },
};
