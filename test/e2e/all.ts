/** The end to end suite in its order: later cases use what earlier ones have put into the cluster. */
import { before } from 'node:test';
import { rememberObjects } from './objects.ts';

before(rememberObjects);

await import('./install.ts');
await import('./capture.ts');
await import('./traffic.ts');
await import('./access_log.ts');
await import('./injection.ts');
await import('./rollout.ts');
await import('./metrics.ts');
await import('./job.ts');
await import('./uninstall.ts');
