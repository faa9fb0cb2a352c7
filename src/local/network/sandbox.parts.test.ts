/** The sandbox with real namespaces, as root and as an ordinary user. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runToEnd, sandboxRuns } from './sandbox_harness.ts';
import { untilKilledMarker } from './sandbox_scenarios.ts';

/** Processes in one of the namespaces, or sleeping for the marker's time. */
function remains(namespaces: readonly string[]): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => {
    try {
      const links = ['net', 'mnt', 'pid'].map((kind) => readlinkSync(`/proc/${pid}/ns/${kind}`));
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return links.some((link) => namespaces.includes(link)) || command.includes(untilKilledMarker);
    } catch {
      return false;
    }
  });
}

for (const run of await sandboxRuns(process.env['CI'] === 'true')) {
  const options = { skip: run.skip, timeout: 40_000 };
  const scenarios = {
    commands: 'a command in a sandbox has streams, an exit code, and is root',
    signals: 'a sandbox passes signals on and can be destroyed',
    orphans: 'orphans in a sandbox are reaped',
  };
  for (const [name, title] of Object.entries(scenarios))
    test(`${title} (${run.name})`, options, () =>
      runToEnd(run.start('sandbox_scenarios.ts', `outside.${name}`)),
    );

  test(`nothing is left when the opener was killed (${run.name})`, options, async () => {
    const { child, cleanup } = run.start('sandbox_scenarios.ts', 'outside.untilKilled');
    const namespaces = await new Promise<string[]>((resolve, reject) => {
      let errors = '';
      child.stderr?.on('data', (text: Buffer) => (errors += text.toString()));
      child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(line.toString()) as string[]));
      child.once('exit', () => reject(new Error(errors)));
    });
    assert.equal(new Set(namespaces).size, 4);
    while (remains(namespaces).length < 5) await delay(10);
    child.kill('SIGKILL');
    // some ten milliseconds on a machine at rest
    for (let waited = 0; remains(namespaces).length > 0 && waited < 5000; waited += 20) await delay(20);
    assert.deepEqual(remains(namespaces), []);
    cleanup();
  });
}
