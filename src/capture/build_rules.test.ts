import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildCaptureRules } from './build_rules.ts';
import { captureConfigProblems, defaultCaptureConfig } from './config.ts';
import type { CaptureConfig } from './config.ts';
import { cleanupCommands, restoreText } from './restore_text.ts';

/** What the injector asks for by default. */
const injected: CaptureConfig = {
  ...defaultCaptureConfig,
  inboundPorts: '*',
  excludeInboundPorts: ['15090', '15021', '15020'],
  outboundRanges: '*',
};

function linesV4(config: CaptureConfig): string[] {
  return restoreText(buildCaptureRules(config).v4).trimEnd().split('\n');
}

test('compatibility 1.8 writes the rules of Istio 1.8.1', () => {
  assert.deepEqual(linesV4({ ...injected, compatibility: '1.8' }), [
    '* nat',
    '-N ISTIO_INBOUND',
    '-N ISTIO_REDIRECT',
    '-N ISTIO_IN_REDIRECT',
    '-N ISTIO_OUTPUT',
    '-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN',
    '-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001',
    '-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006',
    '-A PREROUTING -p tcp -j ISTIO_INBOUND',
    '-A ISTIO_INBOUND -p tcp --dport 22 -j RETURN',
    '-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN',
    '-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN',
    '-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN',
    '-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT',
    '-A OUTPUT -p tcp -j ISTIO_OUTPUT',
    '-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN',
    '-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT',
    '-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN',
    '-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN',
    '-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT',
    '-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN',
    '-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN',
    '-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN',
    '-A ISTIO_OUTPUT -j ISTIO_REDIRECT',
    'COMMIT',
  ]);
});

test('rules that single settings add', () => {
  const cases: { name: string; change: Partial<CaptureConfig>; adds: string[] }[] = [
    {
      name: 'excluded outbound port, both protocols',
      change: { excludeOutboundPorts: ['15020'] },
      adds: [
        '-A ISTIO_OUTPUT -p tcp --dport 15020 -j RETURN',
        '-A ISTIO_OUTPUT -p udp --dport 15020 -j RETURN',
      ],
    },
    {
      name: 'dropping invalid packets',
      change: { dropInvalid: true },
      adds: [
        '* mangle',
        '-N ISTIO_DROP',
        '-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP',
        '-A ISTIO_DROP -j DROP',
        'COMMIT',
      ],
    },
    {
      name: 'excluded owner groups',
      change: { excludeOwnerGroups: ['888', 'ftp'] },
      adds: [
        '-A ISTIO_OUTPUT -m owner --gid-owner 888 -j RETURN',
        '-A ISTIO_OUTPUT -m owner --gid-owner ftp -j RETURN',
      ],
    },
    {
      name: 'excluded interfaces',
      change: { excludeInterfaces: ['net1'] },
      adds: ['-A PREROUTING -i net1 -j RETURN', '-A OUTPUT -o net1 -j RETURN'],
    },
    {
      name: 'virtual interfaces with all ranges',
      change: { virtualInterfaces: ['eth1'] },
      adds: ['-I PREROUTING 1 -i eth1 -j RETURN', '-I PREROUTING 1 -i eth1 -j ISTIO_REDIRECT'],
    },
  ];
  for (const { name, change, adds } of cases) {
    const before = linesV4(injected);
    const after = linesV4({ ...injected, ...change });
    const added = after.filter((line) => !before.includes(line));
    assert.deepEqual(
      added,
      adds.filter((line) => !before.includes(line)),
      name,
    );
    assert.equal(after.length, before.length + adds.length, name);
  }
});

test('capturing DNS to any server', () => {
  const { v4, v6 } = buildCaptureRules({ ...injected, ipv6: true, dns: { kind: 'all' } });
  for (const rules of [v4, v6]) {
    const dns = rules
      .filter(({ chain }) => chain === 'ISTIO_OUTPUT_DNS')
      .map(({ table, match }) => `${table} ${match}`);
    assert.deepEqual(dns, [
      'nat -p tcp --dport 53 -j REDIRECT --to-ports 15053',
      'nat -p udp --dport 53 -j REDIRECT --to-port 15053',
      'raw -p udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1',
      'raw -p udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2',
      'raw -p udp --dport 53 -m owner --gid-owner 1337 -j CT --zone 1',
      'raw -p udp --sport 15053 -m owner --gid-owner 1337 -j CT --zone 2',
      'raw -p udp --dport 53 -j CT --zone 2',
    ]);
  }
});

test('another loopback range replaces 127.0.0.1/32, IPv4 only', () => {
  const { v4, v6 } = buildCaptureRules({ ...injected, ipv6: true, ipv4LoopbackCidr: '127.0.0.1/8' });
  assert.ok(!v4.some(({ match }) => match.includes('127.0.0.1/32')));
  assert.equal(v4.filter(({ match }) => match.includes('-d 127.0.0.1/8')).length, 3);
  assert.equal(v6.filter(({ match }) => match.includes('-d ::1/128')).length, 3);
});

test('cleanup takes jumps away first, then flushes and deletes each chain once', () => {
  const commands = cleanupCommands(buildCaptureRules(injected).v4).map((command) => command.join(' '));
  assert.equal(commands[0], '-t nat -D ISTIO_OUTPUT -j ISTIO_REDIRECT');
  assert.ok(commands.includes('-t nat -D PREROUTING -p tcp -j ISTIO_INBOUND'));
  assert.deepEqual(commands.slice(-8), [
    '-t nat -F ISTIO_OUTPUT',
    '-t nat -X ISTIO_OUTPUT',
    '-t nat -F ISTIO_INBOUND',
    '-t nat -X ISTIO_INBOUND',
    '-t nat -F ISTIO_IN_REDIRECT',
    '-t nat -X ISTIO_IN_REDIRECT',
    '-t nat -F ISTIO_REDIRECT',
    '-t nat -X ISTIO_REDIRECT',
  ]);
});

test('values that cannot become rules are all named', () => {
  const cases: [Partial<CaptureConfig>, RegExp][] = [
    [{ outboundRanges: ['10.0.0.0'] }, /outboundRanges: "10.0.0.0" is not a CIDR range/],
    [{ excludeOutboundRanges: ['*'] }, /excludeOutboundRanges: "\*" is not a CIDR range/],
    [{ inboundPorts: ['80 -j ACCEPT'] }, /inboundPorts/],
    [{ inboundPorts: ['0'] }, /inboundPorts/],
    [{ outboundPorts: ['99999'] }, /outboundPorts/],
    [{ proxyUids: ['1\nCOMMIT'] }, /proxyUids/],
    [{ excludeInterfaces: ['eth0 -j X'] }, /excludeInterfaces/],
    [{ proxyPort: 70000 }, /proxyPort: 70000 is not a port/],
    [{ ownerGroups: Array.from({ length: 65 }, (_, index) => `${index}`) }, /at most 64/],
    [{ ipv4LoopbackCidr: '10.0.0.1/32' }, /ipv4LoopbackCidr/],
    [{ ipv4LoopbackCidr: '127.0.0.1/7' }, /ipv4LoopbackCidr/],
    [{ compatibility: '1.8', inboundMode: 'TPROXY' }, /compatibility 1.8 does not offer TPROXY/],
  ];
  for (const [change, problem] of cases) {
    const problems = captureConfigProblems({ ...injected, ...change });
    assert.equal(problems.length, 1, JSON.stringify(change));
    assert.match(problems[0]!, problem);
  }
  assert.equal(captureConfigProblems({ ...injected, proxyPort: 0, inboundPorts: ['x'] }).length, 2);
});
