/** For tests: programs of `node_network.parts.test.ts`. `outside` opens a sandbox, `inside` of the same name runs in it. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { silentLogger } from '#base/log.ts';
import { defaultCaptureConfig } from '#capture/config.ts';
import type { CaptureConfig } from '#capture/config.ts';
import { readCaptureCounters } from './capture_counters.ts';
import { createNodeNetwork, dnsAddress } from './node_network.ts';
import type { NodeNetwork } from './node_network.ts';
import { startPlaintextProbe } from './plaintext_probe.ts';
import { sidecarUser } from './pod_command.ts';
import type { PodSpawnOptions } from './pod_command.ts';
import type { PodNetwork } from './pod_network.ts';
import { acceptPortForwards, forwardPort } from './port_forward.ts';
import { openSandbox } from './sandbox.ts';
import type { Sandbox } from './sandbox.ts';
import { firstOutput, nodeCall } from './sandbox_harness.ts';

const captured: CaptureConfig = { ...defaultCaptureConfig, inboundPorts: '*', outboundRanges: '*' };

/** Runs a shell command in a pod; both outputs. */
async function runIn(
  pod: PodNetwork,
  command: string,
  options: Partial<PodSpawnOptions> = {},
): Promise<string> {
  const child = pod.spawn('sh', ['-c', command], { env: {}, ...options });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (data: string) => (text += data));
  await once(child, 'close');
  return text.trim();
}

/** Answers, after the sender's end, what was sent, with a name in front. */
const serverProgram = (port: number, name: string): string => `
  require('net').createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (data) => (text += data));
    socket.on('end', () => socket.end('${name} ' + text));
  }).listen(${port}, () => console.log('up'));`;

async function serve(
  pod: PodNetwork,
  port: number,
  name: string,
  options: Partial<PodSpawnOptions> = {},
): Promise<void> {
  const args = ['-e', serverProgram(port, name)];
  const child = pod.spawn(process.execPath, args, {
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  });
  await firstOutput(child);
}

/** Sends, ends, prints the answer or the error's code. */
const clientProgram = (host: string, port: number, text: string): string => `
  const socket = require('net').connect({ host: '${host}', port: ${port}, allowHalfOpen: true });
  socket.on('error', (error) => console.log(error.code));
  socket.end('${text}');
  socket.pipe(process.stdout);`;

function ask(
  pod: PodNetwork,
  host: string,
  port: number,
  text: string,
  options: Partial<PodSpawnOptions> = {},
): Promise<string> {
  return runIn(pod, '"$NODE" -e "$CLIENT"', {
    env: { NODE: process.execPath, CLIENT: clientProgram(host, port, text) },
    ...options,
  });
}

async function inNetwork(
  work: (network: NodeNetwork, createPod: (name: string) => Promise<PodNetwork>) => Promise<void>,
) {
  acceptPortForwards(process);
  const network = await createNodeNetwork(silentLogger);
  await work(network, (name) => network.createPod({ name, namespace: 'default' }));
  process.exit(0);
}

export const inside = {
  reach: () =>
    inNetwork(async (network, createPod) => {
      const [a, b] = [await createPod('a-1'), await createPod('b-1')];
      assert.deepEqual([a.ip, b.ip], ['10.244.0.2', '10.244.0.3']);
      await serve(b, 80, 'b');
      assert.equal(await ask(a, b.ip, 80, 'hello'), 'b hello');
      assert.equal(await ask(a, '10.96.0.80', 80, 'hello'), 'ENETUNREACH');
      assert.equal(
        await runIn(a, 'hostname; cat /etc/resolv.conf; getent ahostsv4 a-1 | head -1 | tr -s " "'),
        [
          'a-1',
          'nameserver 10.96.0.10',
          'search default.svc.cluster.local svc.cluster.local cluster.local',
          'options ndots:5',
          '10.244.0.2 STREAM a-1',
        ].join('\n'),
      );
      await network.addAddress(dnsAddress);
      const server = createServer((socket) => socket.end('dns')).listen(53, dnsAddress);
      await once(server, 'listening');
      assert.equal(await ask(a, dnsAddress, 53, ''), 'dns');
    }),

  users: () =>
    inNetwork(async (_network, createPod) => {
      process.send?.('who?');
      const [caller] = (await once(process, 'message')) as [{ uid: number; gid: number }];
      const pod = await createPod('a');
      const who = 'id -u; id -g; grep -E "^Cap(Prm|Eff)" /proc/self/status | cut -f2';
      const none = '0000000000000000';
      assert.equal(await runIn(pod, who), [caller.uid, caller.gid, none, none].join('\n'));
      assert.equal(await runIn(pod, who, { user: sidecarUser }), [1337, 1337, none, none].join('\n'));
      assert.equal(await runIn(pod, 'pwd; echo $A', { cwd: '/usr', env: { A: 'b' } }), '/usr\nb');
      const file = `/tmp/trysail-test-${process.pid}-${Date.now()}`;
      writeFileSync(file, 'secret', { mode: 0o600 });
      assert.match(await runIn(pod, `cat ${file}`, { user: sidecarUser }), /Permission denied/);
      assert.equal(await runIn(pod, `cat ${file}`, { user: sidecarUser, readsAllFiles: true }), 'secret');
      assert.equal(await runIn(pod, `cat ${file}; rm ${file}`), 'secret');
    }),

  capture: () =>
    inNetwork(async (_network, createPod) => {
      const [a, b] = [await createPod('a'), await createPod('b')];
      for (const pod of [a, b]) {
        assert.equal(await pod.runIptables(captured), 'applied');
        assert.equal(await pod.runIptables(captured), 'unchanged');
      }
      await serve(a, 15001, 'outbound', { user: sidecarUser });
      await serve(b, 15006, 'inbound', { user: sidecarUser });
      assert.equal(await ask(a, '10.96.0.80', 80, 'x'), 'outbound x');
      assert.equal(await ask(a, b.ip, 8080, 'x', { user: sidecarUser }), 'inbound x');
      const ofA = await readCaptureCounters(a.networkNamespace);
      const ofB = await readCaptureCounters(b.networkNamespace);
      assert.deepEqual([ofA.outboundConnections, ofA.inboundConnections], [1, 0]);
      assert.deepEqual([ofB.outboundConnections, ofB.inboundConnections], [0, 1]);
      const own = ofA.rules.find(({ rule }) => rule === '-m owner --uid-owner 1337 -j RETURN');
      assert.equal(own?.packets, 1);
    }),

  plaintext: () =>
    inNetwork(async (network, createPod) => {
      const [a, b] = [await createPod('a'), await createPod('b')];
      await serve(b, 80, 'b');
      const probe = await startPlaintextProbe(network.bridge, ['marker-one', 'marker-two']);
      if ('missing' in probe) {
        assert.match(probe.missing, /^tcpdump is not installed/);
        return;
      }
      assert.equal(await ask(a, b.ip, 80, 'this is marker-one'), 'b this is marker-one');
      const { segments, seen } = await probe.stop();
      assert.ok(segments >= 2);
      assert.deepEqual(
        seen.map(({ marker }) => marker),
        ['marker-one'],
      );
      assert.match(seen[0]?.flow ?? '', /^10.244.0.2:\d+>10.244.0.3:80$/);
    }),

  remove: () =>
    inNetwork(async (_network, createPod) => {
      const pod = await createPod('a');
      const own = readlinkSync(pod.networkNamespace);
      const child = pod.spawn('sh', ['-c', 'trap "" TERM; setsid sleep 1000 & echo up; wait'], { env: {} });
      await firstOutput(child);
      await pod.remove();
      const left = readdirSync('/proc').filter((pid) => {
        try {
          return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/ns/net`) === own;
        } catch {
          return false;
        }
      });
      assert.deepEqual(left, []);
      assert.equal((await createPod('b')).ip, pod.ip);
      await assert.rejects(createNodeNetwork(silentLogger), /not in a sandbox: this network has cbr0/);
    }),

  forward: () =>
    inNetwork(async (_network, createPod) => {
      const pod = await createPod('a');
      await serve(pod, 80, 'a');
      process.send?.({ ip: pod.ip });
      await once(process, 'disconnect');
    }),
};

function openFor(name: keyof typeof inside): Promise<Sandbox> {
  const args = nodeCall('pod_scenarios.ts', `inside.${name}`);
  return openSandbox({ command: process.execPath, args, env: {}, stdio: 'inherit', ipc: true });
}

async function runInside(
  name: keyof typeof inside,
  work: (child: ChildProcess) => Promise<void> = async () => {},
): Promise<void> {
  const sandbox = await openFor(name);
  await work(sandbox.child);
  assert.equal(await sandbox.exited, 0);
}

/** Sends, ends, waits for the answer; the error's code when there is none. */
async function askForwarded(port: number, text: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  let answer = '';
  socket.setEncoding('utf8').on('data', (data: string) => (answer += data));
  socket.on('error', (error: NodeJS.ErrnoException) => (answer = error.code ?? ''));
  socket.end(text);
  await new Promise((resolve) => socket.on('close', resolve));
  return answer;
}

export const outside: Record<keyof typeof inside, () => Promise<void>> = {
  reach: () => runInside('reach'),
  users: () =>
    runInside('users', async (child) => {
      await once(child, 'message');
      child.send({ uid: process.getuid?.(), gid: process.getgid?.() });
    }),
  capture: () => runInside('capture'),
  plaintext: () => runInside('plaintext'),
  remove: () => runInside('remove'),
  forward: () =>
    runInside('forward', async (child) => {
      const [{ ip }] = (await once(child, 'message')) as [{ ip: string }];
      const forward = await forwardPort(child, {}, { host: ip, port: 80 });
      // The server answers only after our end: ends are passed on one by one.
      assert.equal(await askForwarded(forward.port, 'hello'), 'a hello');
      const big = 'x'.repeat(3_000_000);
      assert.equal((await askForwarded(forward.port, big)).length, big.length + 2);
      const numbers = Array.from({ length: 50 }, (_, index) => `number ${index}`);
      assert.deepEqual(
        await Promise.all(numbers.map((text) => askForwarded(forward.port, text))),
        numbers.map((text) => `a ${text}`),
      );
      const nobody = await forwardPort(child, {}, { host: ip, port: 81 });
      assert.match(await askForwarded(nobody.port, 'hello'), /^(ECONNRESET|EPIPE|)$/);
      const taken = forwardPort(child, { port: forward.port }, { host: ip, port: 80 });
      await assert.rejects(taken, { code: 'EADDRINUSE' });
      await forward.close();
      assert.equal(await askForwarded(forward.port, 'hello'), 'ECONNREFUSED');
      child.disconnect();
    }),
};
