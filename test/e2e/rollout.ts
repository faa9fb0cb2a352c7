/** What changes under load loses no request. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { proves } from './diagnosis.ts';
import { apply, kubectl, mesh, rolledOut, system } from './kubectl.ts';
import { app } from './manifests.ts';

interface Load {
  readonly sent: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
}

const perSecond = 200;
const exec = ['-n', mesh, 'exec', 'client', '-c', 'client', '--', 'node'];

/** Requests from the client's pod until `during` has ended, and five seconds more. */
async function underLoad(url: string, during: () => Promise<void>): Promise<Load> {
  const load = kubectl([...exec, '/pod/load.ts', url, String(perSecond), '400', '/tmp/stop'], {
    timeoutMs: 450_000,
  });
  const ended = load.then(
    () => 'ended',
    (error: unknown) => error,
  );
  await sleep(5_000);
  try {
    await during();
    await sleep(5_000);
  } finally {
    await kubectl([...exec, '-e', 'fs.writeFileSync("/tmp/stop", "")']);
    await ended;
  }
  return JSON.parse(await load) as Load;
}

function assertAllServed(load: Load): void {
  assert.deepEqual(load.errors, {});
  assert.deepEqual(load.statuses, { '200': load.sent });
}

function summary({ sent, p50, p99 }: Load): string {
  return `${sent} requests at ${perSecond}/s, none lost; p50 ${p50} ms, p99 ${p99} ms`;
}

describe('changes under load', () => {
  proves(
    'a rolling update of the application loses no request',
    async (t) => {
      await apply(mesh, app('rolling', 2));
      await rolledOut(mesh, 'rolling');
      const load = await underLoad('http://rolling:8080/', async () => {
        await kubectl(['-n', mesh, 'rollout', 'restart', 'deployment/rolling']);
        await rolledOut(mesh, 'rolling');
      });
      assertAllServed(load);
      t.diagnostic(summary(load));
    },
    300_000,
  );

  proves(
    'a restart of the control plane loses no request',
    async (t) => {
      const load = await underLoad('http://rolling:8080/', async () => {
        await kubectl(['-n', system, 'rollout', 'restart', 'deployment/istiod']);
        await rolledOut(system, 'istiod');
        await kubectl(['-n', system, 'delete', 'pod', '-l', 'app=istiod']);
        await rolledOut(system, 'istiod');
      });
      assertAllServed(load);
      t.diagnostic(summary(load));
      await kubectl(['-n', mesh, 'delete', 'deployment,service', 'rolling', '--wait=false']);
    },
    300_000,
  );
});
