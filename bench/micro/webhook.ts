/**
 * What an API server waits for the injection webhook: reviews at a steady rate over HTTPS, server on one core, client on
 * another. Latency counts from the time a review was due, so that a stall shows in all that it delays.
 *
 *   node bench/micro/webhook.ts [--rate 100] [--seconds 20]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { parseArgs } from 'node:util';
import { reviewText } from '#inject/webhook/testing.ts';

const { values: flags } = parseArgs({
  options: { rate: { type: 'string', default: '100' }, seconds: { type: 'string', default: '20' } },
});
const rate = Number(flags.rate);
const total = rate * Number(flags.seconds);
const warmUp = rate * 5;

const testing = new URL('../../src/inject/webhook/testing.ts', import.meta.url).href;
const code = `import { startTestWebhook } from ${JSON.stringify(testing)};
  const { port, rootPem } = await startTestWebhook();
  process.send({ port, rootPem });`;
const server: ChildProcess = spawn(
  'taskset',
  ['-c', '0', process.execPath, '--input-type=module', '-e', code],
  { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
);
const [{ port, rootPem }] = (await once(server, 'message')) as [{ port: number; rootPem: string }];
const agent = new Agent({
  keepAlive: true,
  ca: rootPem,
  servername: 'istiod.istio-system.svc',
  maxSockets: 16,
});

/** A pod as applications have them: two containers, probes, variables, volumes, managed fields. */
const probe = { httpGet: { path: '/healthz', port: 8080 }, periodSeconds: 10 };
const env = Array.from({ length: 20 }, (_, index) => ({ name: `VARIABLE_${index}`, value: 'x'.repeat(40) }));
const mount = {
  name: 'kube-api-access',
  mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
  readOnly: true,
};
const body = Buffer.from(
  reviewText({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: 'web-6d4cf56db6-',
      labels: { app: 'web', version: 'v1', 'pod-template-hash': '6d4cf56db6' },
      annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8080' },
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-6d4cf56db6', controller: true },
      ],
    },
    spec: {
      serviceAccountName: 'web',
      containers: ['web', 'cache'].map((name, index) => ({
        name,
        image: `${name}:1`,
        env,
        ports: [{ containerPort: 8080 + index }],
        readinessProbe: probe,
        livenessProbe: probe,
        volumeMounts: [mount],
        resources: { requests: { cpu: '100m', memory: '128Mi' } },
      })),
      volumes: [
        { name: 'kube-api-access', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
      ],
    },
  }),
);

async function review(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const call = request(
      { host: '127.0.0.1', port, path: '/inject', method: 'POST', agent, headers },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () =>
          text.includes('"patchType":"JSONPatch"') ? resolve() : reject(new Error(text.slice(0, 200))),
        );
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

const latencies: number[] = [];
const pending: Promise<void>[] = [];
const start = performance.now();
for (let index = 0; index < warmUp + total; index++) {
  const due = start + (index * 1000) / rate;
  const wait = due - performance.now();
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  // Timers fire late on a busy machine; that is the client's delay when nothing is behind.
  const sent = performance.now() - due < 2 ? performance.now() : due;
  pending.push(
    review().then(() => {
      if (index >= warmUp) latencies.push(performance.now() - sent);
    }),
  );
}
await Promise.all(pending);
latencies.sort((a, b) => a - b);
const at = (share: number): string =>
  (latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0).toFixed(2);
console.log(
  `${rate} reviews/s of ${body.length} bytes, ${latencies.length} measured: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`,
);
agent.destroy();
server.kill();
