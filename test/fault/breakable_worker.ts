/** A worker thread as the proxy runs it, which throws or stands still when it is told to. */
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', (message: { kind: string; level?: string; name?: string; index?: number }) => {
  if (message.kind === 'break') throw new Error('broken by the test');
  if (message.kind === 'stall') for (;;);
});
await import('../../src/proxy/server/worker_main.ts');
