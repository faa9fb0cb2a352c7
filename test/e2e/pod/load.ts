/**
 * `node load.ts URL PER_SECOND SECONDS STOP_FILE`: requests at a steady rate, whatever the answers take, until the time is over
 * or the file is there, which is then removed. Closes with one line of JSON:
 * `{"sent":n,"statuses":{"200":n},"errors":{"message":n},"p50":ms,"p99":ms}`.
 */
import { existsSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const [url = '', rate = '200', seconds = '10', stopFile = ''] = process.argv.slice(2);
const perSecond = Number(rate);
const agent = new Agent({ keepAlive: true, maxSockets: 128 });
const statuses: Record<string, number> = {};
const errors: Record<string, number> = {};
const times: number[] = [];
const running = new Set<Promise<void>>();

function ask(): Promise<void> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const fail = ({ message }: Error): void => {
      const at = `${((performance.now() - started) / 1000).toFixed(1)} s: ${message}`;
      errors[at] = (errors[at] ?? 0) + 1;
      resolve();
    };
    const request = get(url, { agent, timeout: 15_000 }, (response) => {
      response.resume();
      response.on('error', fail);
      response.on('end', () => {
        const status = String(response.statusCode);
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (response.statusCode !== 200) {
          const at = `${((performance.now() - started) / 1000).toFixed(1)} s: status ${status}`;
          errors[at] = (errors[at] ?? 0) + 1;
        }
        times.push(performance.now() - begun);
        resolve();
      });
    });
    request.on('timeout', () => request.destroy(new Error('no answer in 15 s')));
    request.on('error', fail);
  });
}

const started = performance.now();
const total = Math.round(perSecond * Number(seconds));
let sent = 0;
while (sent < total && !existsSync(stopFile)) {
  const due = Math.min(total, Math.floor(((performance.now() - started) / 1000) * perSecond) + 1);
  for (; sent < due; sent++) {
    const one = ask();
    running.add(one);
    void one.then(() => running.delete(one));
  }
  await sleep(5);
}
await Promise.all(running);
rmSync(stopFile, { force: true });
agent.destroy();
times.sort((a, b) => a - b);
const quantile = (q: number): number => Math.round(times[Math.floor(times.length * q)] ?? 0);
console.log(JSON.stringify({ sent, statuses, errors, p50: quantile(0.5), p99: quantile(0.99) }));
