/** Flags and variables of `istio-iptables`, by dry run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

function run(
  args: string[],
  env: Record<string, string> = {},
): { code: number | null; lines: string[]; errors: string } {
  const module = JSON.stringify(join(import.meta.dirname, 'istio_iptables.ts'));
  const program = `
    import { istioIptablesCommand } from ${module};
    await istioIptablesCommand(process.env).parseAsync(${JSON.stringify(args)}, { from: 'user' });`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
    timeout: 20_000,
  });
  return { code: status, lines: stdout.split('\n'), errors: stderr };
}

test('the arguments that the injector gives, short flags', () => {
  const injected =
    '-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020 --log_output_level=default:info';
  const { code, lines, errors } = run([...injected.split(' '), '-x', '', '-n']);
  assert.equal(code, 0, errors);
  assert.ok(lines.includes('-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN'));
  assert.ok(lines.includes('-A ISTIO_OUTPUT -j ISTIO_REDIRECT'));
});

test('a flag wins over its variable, the variable over the default', () => {
  const env = {
    ENVOY_PORT: '1',
    INBOUND_CAPTURE_PORT: '2',
    ISTIO_META_DNS_CAPTURE: 'true',
    CAPTURE_ALL_DNS: 'true',
  };
  const { code, lines, errors } = run(['--dry-run', '--envoy-port=3'], env);
  assert.equal(code, 0, errors);
  assert.ok(lines.includes('-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 3'));
  assert.ok(lines.includes('-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 2'));
  assert.ok(lines.includes('-A ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-port 15053'));
  const off = run(['--dry-run', '--redirect-dns=false'], env);
  assert.ok(!off.lines.some((line) => line.includes('15053')));
});

test('without a proxy user, that of ENVOY_USER is looked up, and the group follows', () => {
  const { lines } = run(['-n'], { ENVOY_USER: 'root' });
  assert.ok(lines.includes('-A ISTIO_OUTPUT -m owner --uid-owner 0 -j RETURN'));
  assert.ok(lines.includes('-A ISTIO_OUTPUT -m owner --gid-owner 0 -j RETURN'));
  const unknown = run(['-n'], { ENVOY_USER: 'no-such-user' });
  assert.ok(unknown.lines.includes('-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN'));
});

test("the init container of Istio 1.8 is known by its variable and gets that release's rules", () => {
  const { lines } = run(['-n', '-b', '*'], { DNS_AGENT: '' });
  assert.ok(lines.includes('-A ISTIO_INBOUND -p tcp --dport 22 -j RETURN'));
  const current = run(['-n', '-b', '*', '--compatibility-version=current'], { DNS_AGENT: '' });
  assert.ok(!current.lines.includes('-A ISTIO_INBOUND -p tcp --dport 22 -j RETURN'));
});

test('bad values end with code 1 and name the flag', () => {
  const cases: [args: string[], message: RegExp][] = [
    [['--native-nftables'], /--native-nftables is not available/],
    [['--envoy-port=http'], /--envoy-port: "http" is not a number/],
    [['--istio-service-cidr=10.0.0.1'], /"10.0.0.1" is not a CIDR range/],
    [['-m', 'NAT'], /--istio-inbound-interception-mode: "NAT" is not one of REDIRECT, TPROXY/],
    [['--dry-run=maybe'], /--dry-run: "maybe" is not true or false/],
    [['--skip-rule-apply', '--run-validation', '--probe-timeout=5'], /"5" is not a duration/],
    [['--compatibility-version=1.7'], /--compatibility-version: "1.7" is not one of/],
  ];
  for (const [args, message] of cases) {
    const { code, errors } = run(args[0]?.startsWith('--dry-run') ? args : ['--dry-run', ...args]);
    assert.equal(code, 1, errors);
    assert.match(errors, message);
  }
});

test('help names defaults and variables', () => {
  const { code, lines } = run(['--help']);
  const help = lines.join(' ').replaceAll(/\s+/g, ' ');
  assert.equal(code, 0);
  assert.match(help, /-p, --envoy-port <value> .*?default 15001, env \$ENVOY_PORT/);
  assert.match(help, /\$REDIRECT_DNS, \$ISTIO_META_DNS_CAPTURE/);
  assert.match(help, /ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE/);
});
