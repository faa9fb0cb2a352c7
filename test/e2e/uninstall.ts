/** What is left after the mesh: nothing. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { proves } from './diagnosis.ts';
import { kubectl, mesh, other, plain, trysail } from './kubectl.ts';
import { newObjects } from './objects.ts';

describe('uninstall', () => {
  proves(
    'after uninstall and the removal of its namespaces the cluster is as before',
    async () => {
      await kubectl(['delete', 'namespace', mesh, other, plain, '--wait=true'], { timeoutMs: 180_000 });
      await trysail(['uninstall', '--purge'], { timeoutMs: 120_000 });
      await kubectl(['wait', '--for=delete', 'namespace/istio-system', '--timeout=120s'], {
        timeoutMs: 130_000,
      }).catch((error: Error) => {
        if (!error.message.includes('not found') && !error.message.includes('NotFound')) throw error;
      });
      assert.deepEqual(await newObjects(), []);
    },
    420_000,
  );
});
