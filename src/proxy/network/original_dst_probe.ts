/** The inner half of original_dst.test.ts: runs in a network namespace, in a worker thread, and prints what it sees. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { getOriginalDestination } from './original_dst.ts';

async function look(): Promise<string[]> {
  const server = createServer((socket) => {
    const address = getOriginalDestination(socket);
    socket.end(address === undefined ? 'none' : `${address.ip} ${address.port}`);
  });
  server.listen(15001, '::');
  await once(server, 'listening');
  const seen: string[] = [];
  for (const [host, port] of [
    ['10.1.2.3', 80],
    ['2001:db8::7', 80],
    ['127.0.0.1', 15001],
  ] as const) {
    let text = '';
    for await (const data of connect(port, host)) text += String(data);
    seen.push(text);
  }
  server.close();
  return seen;
}

// The data plane lives in worker threads.
if (isMainThread) {
  const worker = new Worker(fileURLToPath(import.meta.url));
  worker.on('message', (seen: string[]) => process.stdout.write(JSON.stringify(seen)));
} else parentPort?.postMessage(await look());
