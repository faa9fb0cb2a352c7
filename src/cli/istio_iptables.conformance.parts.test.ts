/** Istio's own expectations of `istio-iptables`: dry run in a namespace, compared line by line. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { namespaceSkip, runInNamespace } from '#capture/namespace_harness.ts';
import { shortestIpv6 } from '#capture/cidr_list.ts';

interface Case {
  readonly name: string;
  readonly expected: string;
  readonly params: {
    readonly flags: Readonly<Record<string, string>>;
    readonly env: Readonly<Record<string, string>>;
    readonly host: { readonly ipv6: boolean; readonly dnsServers: readonly string[] };
  };
}

const data = process.env['TRYSAIL_TESTDATA'] ?? join(import.meta.dirname, '../../../shared/istio-testdata');
const folder = join(data, 'iptables');
const missing = existsSync(folder) ? false : `no test data: ${folder} (set TRYSAIL_TESTDATA)`;
if (missing && process.env['CI'] === 'true') throw new Error(missing);

/** Rule lines without the calls that only look, IPv6 addresses in one spelling. */
function ruleLines(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !/^ip6?tables-save$/.test(line))
    .map((line) => line.replaceAll(/[0-9a-f:.]*::[0-9a-f:.]*/g, (address) => shortestIpv6(address)));
}

async function dryRun({ params }: Case): Promise<string> {
  const temporary = await mkdtemp(join(tmpdir(), 'trysail-iptables-'));
  try {
    const recorded = join(temporary, 'rules');
    const resolver = join(temporary, 'resolv.conf');
    await writeFile(resolver, params.host.dnsServers.map((server) => `nameserver ${server}\n`).join(''));
    const flags = Object.entries(params.flags).map(([name, value]) => `--${name}=${value}`);
    const program = `
      import { istioIptablesCommand } from ${JSON.stringify(join(import.meta.dirname, 'istio_iptables.ts'))};
      await istioIptablesCommand(process.env).parseAsync(${JSON.stringify([...flags, '--dry-run'])}, { from: 'user' });`;
    const { code, stderr } = await runInNamespace(
      `ip address add ${params.host.ipv6 ? '2001:db8::7/128' : '10.9.9.7/32'} dev lo
       mount --bind ${resolver} /etc/resolv.conf
       "$NODE" --input-type=module -e "$PROGRAM"`,
      { ...params.env, DRY_RUN_FILE_PATH: recorded, PROGRAM: program },
    );
    assert.equal(code, 0, stderr);
    return await readFile(recorded, 'utf8');
  } finally {
    await rm(temporary, { recursive: true });
  }
}

const skip = missing || namespaceSkip(process.env['CI'] === 'true');
const cases = missing ? [] : (JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Case[]);
if (missing) test('istio-iptables conformance', { skip: missing });

for (const wanted of cases)
  test(`istio-iptables conformance: ${wanted.name}`, { skip }, async () => {
    const expected = await readFile(join(folder, wanted.expected), 'utf8');
    assert.deepEqual(ruleLines(await dryRun(wanted)), ruleLines(expected));
  });
