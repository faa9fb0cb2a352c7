/** Pods with real traffic, as root and as an ordinary user. */
import { test } from 'node:test';
import { runToEnd, sandboxRuns } from './sandbox_harness.ts';

/** Runs `body` inside a sandbox that has a network. */
function inside(body: string, outside = ''): string {
  const inner = `
    import assert from 'node:assert/strict';
    import { once } from 'node:events';
    import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
    import { createNodeNetwork, dnsAddress } from modules('node_network.ts');
    import { sidecarUser } from modules('pod_command.ts');
    import { acceptPortForwards } from modules('port_forward.ts');
    import { readCaptureCounters } from modules('capture_counters.ts');
    import { startPlaintextProbe } from modules('plaintext_probe.ts');
    import { defaultCaptureConfig } from modules('../../capture/config.ts');
    import { silentLogger } from modules('../../base/log.ts');
    acceptPortForwards(process);
    const network = await createNodeNetwork(silentLogger);
    const createPod = (name) => network.createPod({ name, namespace: 'default' });
    const env = {};
    const captured = { ...defaultCaptureConfig, inboundPorts: '*', outboundRanges: '*' };
    const runIn = async (pod, command, options = {}) => {
      const child = pod.spawn('sh', ['-c', command], { env, ...options });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (data) => (text += data));
      child.stderr.setEncoding('utf8').on('data', (data) => (text += data));
      await once(child, 'close');
      return text.trim();
    };
    // A server that answers what it was sent, after the sender's end, with its own name in front.
    const serve = async (pod, port, name, options = {}) => {
      const program = "require('net').createServer({ allowHalfOpen: true }, (socket) => { let text = ''; " +
        "socket.on('error', () => {}); socket.on('data', (data) => (text += data)); " +
        "socket.on('end', () => socket.end('" + name + ' ' + "' + text)); }).listen(" + port + ", () => console.log('up'))";
      const child = pod.spawn(process.execPath, ['-e', program], { env, stdio: ['ignore', 'pipe', 'inherit'], ...options });
      await once(child.stdout, 'data');
      return child;
    };
    const ask = (pod, host, port, text, options) => runIn(pod, process.execPath + ' -e "' +
      "const s = require('net').connect({ host: '" + host + "', port: " + port + ", allowHalfOpen: true }); s.end('" + text + "'); " +
      "s.on('error', (error) => console.log(error.code)); s.pipe(process.stdout)" + '"', options);
    ${body}
    process.exit(0);`;
  return `
    import assert from 'node:assert/strict';
    import { connect } from 'node:net';
    import { once } from 'node:events';
    import { openSandbox } from modules('sandbox.ts');
    import { forwardPort } from modules('port_forward.ts');
    const source = ${JSON.stringify(inner)}.replaceAll(/modules\\('([a-z_.\\/]+)'\\)/g, (_, name) => JSON.stringify(modules('.') + '/' + name));
    const sandbox = await openSandbox({
      command: process.execPath, args: ['--input-type=module', '-e', source], env: {}, stdio: 'inherit', ipc: true,
    });
    ${outside}
    process.exitCode = await sandbox.exited;`;
}

for (const run of await sandboxRuns(process.env['CI'] === 'true')) {
  const options = { skip: run.skip, timeout: 40_000 };

  test(`pods have addresses, names and files of their own and reach each other (${run.name})`, options, () =>
    runToEnd(
      run.start(
        inside(`
        const [a, b] = [await createPod('a-1'), await createPod('b-1')];
        assert.deepEqual([a.ip, b.ip], ['10.244.0.2', '10.244.0.3']);
        await serve(b, 80, 'b');
        assert.equal(await ask(a, b.ip, 80, 'hello'), 'b hello');
        assert.equal(await ask(a, '10.96.0.80', 80, 'hello'), 'ENETUNREACH');
        assert.match(await runIn(a, 'hostname; cat /etc/resolv.conf; getent hosts a-1'),
          /^a-1\\nnameserver 10.96.0.10\\nsearch default.svc.cluster.local svc.cluster.local cluster.local\\noptions ndots:5\\n10.244.0.2 +a-1$/);
        await network.addAddress(dnsAddress);
        const server = (await import('node:net')).createServer((socket) => socket.end('dns')).listen(53, dnsAddress);
        await once(server, 'listening');
        assert.equal(await ask(a, dnsAddress, 53, ''), 'dns');`),
      ),
    ),
  );

  test(`applications run as the caller, sidecars as 1337, without privileges (${run.name})`, options, () =>
    runToEnd(
      run.start(
        inside(
          `
        const [caller] = await once(process, 'message');
        const pod = await createPod('a');
        const who = 'id -u; id -g; grep -E "^Cap(Prm|Eff)" /proc/self/status | cut -f2';
        const none = '0000000000000000';
        assert.equal(await runIn(pod, who), [caller.uid, caller.gid, none, none].join('\\n'));
        assert.equal(await runIn(pod, who, { user: sidecarUser }), [1337, 1337, none, none].join('\\n'));
        assert.equal(await runIn(pod, 'cd ~/.; pwd', { cwd: '/usr', env: { HOME: '/usr' } }), '/usr');
        writeFileSync('/tmp/trysail-test-' + caller.uid, 'secret', { mode: 0o600 });
        const read = 'cat /tmp/trysail-test-' + caller.uid;
        assert.match(await runIn(pod, read, { user: sidecarUser }), /Permission denied/);
        assert.equal(await runIn(pod, read, { user: sidecarUser, readsAllFiles: true }), 'secret');
        assert.equal(await runIn(pod, read + '; rm /tmp/trysail-test-' + caller.uid), 'secret');`,
          `sandbox.child.send({ uid: process.getuid(), gid: process.getgid() });`,
        ),
      ),
    ),
  );

  test(`a pod's traffic goes through its sidecar and is counted (${run.name})`, options, () =>
    runToEnd(
      run.start(
        inside(`
        const [a, b] = [await createPod('a'), await createPod('b')];
        for (const pod of [a, b]) {
          assert.equal(await pod.runIptables(captured), 'applied');
          assert.equal(await pod.runIptables(captured), 'unchanged');
        }
        await serve(a, 15001, 'outbound', { user: sidecarUser });
        await serve(b, 15006, 'inbound', { user: sidecarUser });
        assert.equal(await ask(a, '10.96.0.80', 80, 'x'), 'outbound x');
        assert.equal(await ask(a, b.ip, 8080, 'x', { user: sidecarUser }), 'inbound x');
        const [ofA, ofB] = [await readCaptureCounters(a.networkNamespace), await readCaptureCounters(b.networkNamespace)];
        assert.deepEqual([ofA.outboundConnections, ofA.inboundConnections], [1, 0]);
        assert.deepEqual([ofB.outboundConnections, ofB.inboundConnections], [0, 1]);
        const own = ofA.rules.find(({ rule }) => rule === '-m owner --uid-owner 1337 -j RETURN');
        assert.equal(own.packets, 1);`),
      ),
    ),
  );

  test(`plaintext between pods is found (${run.name})`, options, () =>
    runToEnd(
      run.start(
        inside(`
        const [a, b] = [await createPod('a'), await createPod('b')];
        await serve(b, 80, 'b');
        const probe = await startPlaintextProbe(network.bridge, ['marker-one', 'marker-two']);
        if ('missing' in probe) {
          assert.match(probe.missing, /tcpdump/);
        } else {
          assert.equal(await ask(a, b.ip, 80, 'this is marker-one'), 'b this is marker-one');
          const { segments, seen } = await probe.stop();
          assert.ok(segments >= 2);
          assert.deepEqual(seen.map(({ marker }) => marker), ['marker-one']);
          assert.match(seen[0].flow, /^10.244.0.2:\\d+>10.244.0.3:80$/);
        }`),
      ),
    ),
  );

  test(`a removed pod is gone with its processes, its address is free again (${run.name})`, options, () =>
    runToEnd(
      run.start(
        inside(`
        const pod = await createPod('a');
        const own = readlinkSync(pod.networkNamespace);
        const child = pod.spawn('sh', ['-c', 'trap "" TERM; setsid sleep 1000 & echo up; wait'], { env });
        await once(child.stdout, 'data');
        await pod.remove();
        const left = readdirSync('/proc').filter((pid) => {
          try { return /^\\d+$/.test(pid) && readlinkSync('/proc/' + pid + '/ns/net') === own; } catch { return false; }
        });
        assert.deepEqual(left, []);
        assert.equal((await createPod('b')).ip, pod.ip);
        await assert.rejects(createNodeNetwork(silentLogger), /not in a sandbox: this network has cbr0/);`),
      ),
    ),
  );

  test(`a port of the machine's loopback is a port of a pod (${run.name})`, options, () =>
    runToEnd(
      run.start(
        inside(
          `
        const pod = await createPod('a');
        await serve(pod, 80, 'a');
        process.send({ ip: pod.ip });
        await once(process, 'disconnect');`,
          `
        const [{ ip }] = await once(sandbox.child, 'message');
        const forward = await forwardPort(sandbox.child, {}, { host: ip, port: 80 });
        const ask = async (port, text) => {
          const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
          let answer = '';
          socket.setEncoding('utf8').on('data', (data) => (answer += data));
          socket.on('error', (error) => (answer = error.code));
          // The server answers after our end: ends are passed on one by one.
          socket.end(String(text));
          await once(socket, 'close').catch(() => {});
          return answer;
        };
        assert.equal(await ask(forward.port, 'hello'), 'a hello');
        const big = 'x'.repeat(3_000_000);
        assert.equal((await ask(forward.port, big)).length, big.length + 2);
        assert.deepEqual(await Promise.all(Array.from({ length: 50 }, (_, n) => ask(forward.port, n))), Array.from({ length: 50 }, (_, n) => 'a ' + n));
        const closed = await forwardPort(sandbox.child, {}, { host: ip, port: 81 });
        assert.match(await ask(closed.port, 'hello'), /^(ECONNRESET|)$/);
        await assert.rejects(forwardPort(sandbox.child, { port: forward.port }, { host: ip, port: 80 }), { code: 'EADDRINUSE' });
        await forward.close();
        assert.equal(await ask(forward.port, 'hello'), 'ECONNREFUSED');
        sandbox.child.disconnect();`,
        ),
      ),
    ),
  );
}
