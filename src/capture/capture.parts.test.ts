/** Capture with real iptables and real traffic, in namespaces of the test. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { namespaceSkip, runInNamespace } from './namespace_harness.ts';

const skip = namespaceSkip(process.env['CI'] === 'true');

/** A script with the modules of capture at hand, and `injected`, the configuration of an injected pod. */
function program(body: string): string {
  const from = (name: string): string => JSON.stringify(join(import.meta.dirname, name));
  return `
    import assert from 'node:assert/strict';
    import { execFileSync } from 'node:child_process';
    import { connect, createServer } from 'node:net';
    import { once } from 'node:events';
    import { captureTraffic } from ${from('capture.ts')};
    import { defaultCaptureConfig } from ${from('config.ts')};
    import { validateCapture } from ${from('validate_capture.ts')};
    import { silentLogger } from ${from('../base/log.ts')};
    const injected = { ...defaultCaptureConfig, inboundPorts: '*', outboundRanges: '*', excludeInboundPorts: ['15090'] };
    const capture = (config, options = {}) => captureTraffic(config, { variant: process.env.VARIANT, ...options }, silentLogger);
    const iptables = (family = '') => 'ip' + family + 'tables-' + process.env.VARIANT;
    const rules = (family) => execFileSync(iptables(family) + '-save', { encoding: 'utf8' })
      .split('\\n').filter((line) => line.startsWith('-A') || line.startsWith(':ISTIO'));
    const listen = async (port, answer) => {
      const server = createServer((socket) => socket.end(answer)).listen(port, '0.0.0.0');
      await once(server, 'listening');
    };
    const ask = async (host, port, options = {}) => {
      const socket = connect({ host, port, ...options });
      socket.setEncoding('utf8');
      let text = '';
      socket.on('data', (data) => (text += data));
      await once(socket, 'close');
      return text;
    };
    const packets = (rule) => {
      const text = execFileSync(iptables() + '-save', ['-c', '-t', 'nat'], { encoding: 'utf8' });
      const line = text.split('\\n').find((line) => line.endsWith(rule));
      assert.ok(line, 'no rule ' + rule + ' in ' + text);
      return Number(/\\[(\\d+):/.exec(line)[1]);
    };
    ${body}
    process.exit(0);`;
}

/** A pod: loopback, an address, a route to everywhere. */
const pod = `
  ip link set lo up
  ip link add eth0 type veth peer name peer0 && ip link set peer0 up && ip link set eth0 up
  ip address add 10.244.0.9/24 dev eth0
  ip -6 address add 2001:db8::9/64 dev eth0 nodad
  ip route add default via 10.244.0.1`;

async function runInPod(variant: string, body: string, prepare = ''): Promise<void> {
  const script = `${pod}\nmount -t tmpfs none /run\n${prepare}\n"$NODE" --input-type=module -e "$PROGRAM"`;
  const { code, stdout, stderr } = await runInNamespace(script, { VARIANT: variant, PROGRAM: program(body) });
  assert.equal(code, 0, stdout + stderr);
}

for (const variant of ['nft', 'legacy']) {
  const missing = spawnSync(`iptables-${variant}`, ['--version']).error;
  const options = { skip: skip || (missing ? `iptables-${variant} is not installed` : false) };

  test(`capture redirects outbound TCP and counts it (${variant})`, options, () =>
    runInPod(
      variant,
      `
      assert.equal(await capture(injected), 'applied');
      await listen(15001, 'proxy');
      assert.equal(await ask('10.96.0.80', 80), 'proxy');
      assert.equal(packets('-A ISTIO_OUTPUT -j ISTIO_REDIRECT'), 1);
      assert.equal(packets('-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001'), 1);
      // The application's own loopback is left alone.
      await listen(8080, 'application');
      assert.equal(await ask('127.0.0.1', 8080), 'application');`,
    ),
  );

  test(`applying twice changes nothing, cleanup leaves nothing (${variant})`, options, () =>
    runInPod(
      variant,
      `
      const config = { ...injected, ipv6: true, dropInvalid: true, inboundMode: 'TPROXY', excludeInterfaces: ['net1'],
        dns: { kind: 'servers', v4: ['10.96.0.10'], v6: ['2001:db8::53'] }, outboundRanges: ['10.0.0.0/8', '2001:db8::/32'] };
      assert.equal(await capture(config), 'applied');
      const before = [...rules(''), ...rules('6')];
      assert.ok(before.length > 60);
      assert.equal(await capture(config), 'unchanged');
      assert.deepEqual([...rules(''), ...rules('6')], before);
      assert.equal(await capture(config, { cleanupOnly: true }), 'cleaned');
      assert.deepEqual([...rules(''), ...rules('6')], []);
      const again = await capture(config);
      assert.equal(again, 'applied');`,
    ),
  );

  test(`other rules are drift; reconcile exchanges them behind guardrails (${variant})`, options, () =>
    runInPod(
      variant,
      `
      assert.equal(await capture(injected), 'applied');
      const other = { ...injected, proxyPort: 25001, excludeOutboundPorts: ['3306'] };
      await assert.rejects(capture(other), { code: 'drift' });
      assert.equal(await capture(other, { reconcile: true }), 'reconciled');
      assert.ok(!rules('').some((rule) => rule.includes('DROP')), 'guardrails are gone');
      assert.ok(!rules('').some((rule) => rule.includes('15001')), 'the old rules are gone');
      assert.equal(await capture(other), 'unchanged');
      // Another's rules stay.
      execFileSync(iptables(), ['-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '9', '-j', 'ACCEPT']);
      assert.equal(await capture(other), 'unchanged');
      assert.equal(await capture(injected, { reconcile: true }), 'reconciled');
      assert.equal(rules('').filter((rule) => rule.includes('--dport 9 ')).length, 1);`,
    ),
  );

  test(`a rule that iptables refuses leaves the table as it was (${variant})`, options, () =>
    runInPod(
      variant,
      `
      await assert.rejects(capture({ ...injected, ownerGroups: ['no-such-group'] }), { code: 'command_failed' });
      assert.deepEqual(rules(''), []);`,
    ),
  );
}

test('the listing of 1.8 rules is that of Istio 1.8.1', { skip }, () =>
  runInPod(
    'legacy',
    `
    await capture({ ...injected, compatibility: '1.8', excludeInboundPorts: ['15090', '15021', '15020'] });
    const listing = execFileSync(iptables(), ['-t', 'nat', '-nvL'], { encoding: 'utf8' });
    const chains = listing.split('\\n').filter((line) => line.startsWith('Chain ISTIO')).map((line) => line.slice(6));
    assert.deepEqual(chains, ['ISTIO_INBOUND (1 references)', 'ISTIO_IN_REDIRECT (3 references)',
      'ISTIO_OUTPUT (1 references)', 'ISTIO_REDIRECT (1 references)']);
    const ports = [...listing.matchAll(/RETURN .*dpt:(\\d+)/g)].map(([, port]) => port);
    assert.deepEqual(ports, ['15008', '22', '15090', '15021', '15020']);`,
  ),
);

test('validation passes with rules and fails without', { skip }, () =>
  runInPod(
    'nft',
    `
    const probe = () => validateCapture(injected, { timeoutMs: 1500, intervalMs: 100 }, silentLogger);
    const uid = process.getuid();
    await assert.rejects(probe(), { code: 'not_captured' });
    // The proxy's user is the one whose loopback traffic comes in again; here that is who runs the test.
    await capture({ ...injected, proxyUids: [String(uid)], proxyGids: [String(process.getgid())] });
    await probe();`,
  ),
);

test('TPROXY sets up policy routing once', { skip }, () =>
  runInPod(
    'nft',
    `
    const config = { ...injected, inboundMode: 'TPROXY', ipv6: true };
    await capture(config);
    await capture(config);
    for (const family of ['-4', '-6']) {
      const list = execFileSync('ip', [family, 'rule', 'show'], { encoding: 'utf8' });
      assert.equal(list.match(/fwmark 0x539 lookup 133/g).length, 1);
      assert.match(execFileSync('ip', [family, 'route', 'show', 'table', '133'], { encoding: 'utf8' }), /local default dev lo/);
    }
    assert.match(execFileSync('ip', ['-6', 'address', 'show', 'dev', 'lo'], { encoding: 'utf8' }), /::6\\/128/);`,
  ),
);

test('rules can be put into another namespace, with a lock of its own', { skip }, () =>
  runInPod(
    'legacy',
    `
    const networkNamespace = '/proc/' + process.env.HOLDER + '/ns/net';
    await capture(injected, { networkNamespace, ownLock: true });
    assert.deepEqual(rules(''), []);
    const inside = execFileSync('nsenter', ['--net=' + networkNamespace, 'iptables-legacy-save'], { encoding: 'utf8' });
    assert.match(inside, /-A OUTPUT -j ISTIO_OUTPUT/);`,
    `unshare --net sleep 60 & HOLDER=$!; export HOLDER; trap 'kill $HOLDER' EXIT
     while [ "$(readlink /proc/$HOLDER/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done`,
  ),
);
