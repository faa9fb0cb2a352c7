/** `--mode validate`: builds all static resources, binds nothing, says what is bad. */
import type { FromWorker } from './messages.ts';
import { WorkerRuntime } from './worker.ts';

/** Rejects with an Error that names the bad resource. */
export async function validateBootstrap(bootstrap: Uint8Array): Promise<void> {
  const posted: FromWorker[] = [];
  const worker = new WorkerRuntime(
    {
      index: 0,
      concurrency: 1,
      bootstrap,
      drainTimeMs: 0,
      drainStrategy: 'immediate',
      runtime: [],
      logLevel: 'none',
      hostname: '',
      environment: {},
      heartbeat: new SharedArrayBuffer(4),
    },
    (message) => posted.push(message),
  );
  try {
    await worker.validate();
  } finally {
    await worker.handle({ kind: 'close' });
  }
}
