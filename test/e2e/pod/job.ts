/**
 * `node job.ts URL`: asks once it may, tells its sidecar to end, ends. Istio's way for Jobs whose sidecar is an ordinary
 * container: POST /quitquitquit on the agent's port 15020.
 */
import { setTimeout as sleep } from 'node:timers/promises';

const [url = ''] = process.argv.slice(2);
for (let tries = 0; ; tries++) {
  try {
    const response = await fetch(url);
    await response.text();
    console.log(`status ${response.status}`);
    if (response.ok) break;
  } catch (error) {
    console.log(String(error));
  }
  if (tries === 60) process.exit(1);
  await sleep(500);
}
const { status } = await fetch('http://127.0.0.1:15020/quitquitquit', { method: 'POST' });
console.log(`quitquitquit ${status}`);
process.exit(status === 200 ? 0 : 1);
