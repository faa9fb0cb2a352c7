/**
 * The soak: HTTP/1.1, HTTP/2, gRPC, TCP and TLS traffic through one proxy while its control plane changes its configuration,
 * with its memory and descriptors sampled. Fails when a request is lost or memory goes on growing after the warm-up.
 *
 *   node scripts/soak.ts [--minutes 10] [--warm-up-minutes 2] [--concurrency 2] [--growth-mib 12]
 */
import { parseArgs } from 'node:util';
import { soak } from '../test/soak/soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    'warm-up-minutes': { type: 'string' },
    concurrency: { type: 'string', default: '2' },
    'growth-mib': { type: 'string', default: '12' },
  },
});
const minutes = Number(values.minutes);
const warmUp = values['warm-up-minutes'];
const report = await soak({
  minutes,
  warmUpMinutes: warmUp === undefined ? Math.min(2, minutes / 3) : Number(warmUp),
  concurrency: Number(values.concurrency),
  maxGrowthMib: Number(values['growth-mib']),
  say: (line) => console.log(line),
});
for (const failure of report.failures) console.error(`soak: ${failure}`);
process.exitCode = report.failures.length === 0 ? 0 : 1;
