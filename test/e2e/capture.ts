/** The chains of a pod's nat table. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { proves } from './diagnosis.ts';
import { apply, kubectl, mesh, plain, read, trysail } from './kubectl.ts';
import { ruleViewer } from './manifests.ts';

/** [Shell 2]: target, protocol, in, out, source, destination, and what else is matched. */
const shell2: Readonly<Record<string, readonly string[]>> = {
  PREROUTING: ['ISTIO_INBOUND tcp * * 0.0.0.0/0 0.0.0.0/0'],
  INPUT: [],
  OUTPUT: ['ISTIO_OUTPUT tcp * * 0.0.0.0/0 0.0.0.0/0'],
  POSTROUTING: [],
  ISTIO_INBOUND: [
    'RETURN tcp * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:15008',
    'RETURN tcp * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:22',
    'RETURN tcp * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:15090',
    'RETURN tcp * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:15021',
    'RETURN tcp * * 0.0.0.0/0 0.0.0.0/0 tcp dpt:15020',
    'ISTIO_IN_REDIRECT tcp * * 0.0.0.0/0 0.0.0.0/0',
  ],
  ISTIO_IN_REDIRECT: ['REDIRECT tcp * * 0.0.0.0/0 0.0.0.0/0 redir ports 15006'],
  ISTIO_OUTPUT: [
    'RETURN all * lo 127.0.0.6 0.0.0.0/0',
    'ISTIO_IN_REDIRECT all * lo 0.0.0.0/0 !127.0.0.1 owner UID match 1337',
    'RETURN all * lo 0.0.0.0/0 0.0.0.0/0 ! owner UID match 1337',
    'RETURN all * * 0.0.0.0/0 0.0.0.0/0 owner UID match 1337',
    'ISTIO_IN_REDIRECT all * lo 0.0.0.0/0 !127.0.0.1 owner GID match 1337',
    'RETURN all * lo 0.0.0.0/0 0.0.0.0/0 ! owner GID match 1337',
    'RETURN all * * 0.0.0.0/0 0.0.0.0/0 owner GID match 1337',
    'RETURN all * * 0.0.0.0/0 127.0.0.1',
    'ISTIO_REDIRECT all * * 0.0.0.0/0 0.0.0.0/0',
  ],
  ISTIO_REDIRECT: ['REDIRECT tcp * * 0.0.0.0/0 0.0.0.0/0 redir ports 15001'],
};

/** Chains and rules of `iptables -t nat -nvL`, without counters; newer programs print protocols as numbers. */
function parse(text: string): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  let rules: string[] = [];
  for (const line of text.split('\n')) {
    const chain = /^Chain (\S+)/.exec(line)?.[1];
    if (chain !== undefined) chains[chain] = rules = [];
    else if (/^\s*\d/.test(line)) {
      const [, , target, protocol, , ...rest] = line.trim().split(/\s+/);
      const name = { '0': 'all', '6': 'tcp' }[protocol!] ?? protocol;
      rules.push([target, name, ...rest].join(' '));
    }
  }
  return chains;
}

async function chainsOf(namespace: string, pod: string): Promise<Record<string, string[]>> {
  await kubectl(['-n', namespace, 'wait', '--for=condition=ready', `pod/${pod}`, '--timeout=120s'], {
    timeoutMs: 130_000,
  });
  const exec = ['-n', namespace, 'exec', pod, '-c', 'show', '--'];
  return parse(await kubectl([...exec, 'iptables', '-t', 'nat', '-nvL']));
}

/** The image that the cluster's sidecars run. */
async function sidecarImage(): Promise<string> {
  const pod = await read<{ spec: { containers: { name: string; image: string }[] } }>(mesh, 'pod', 'client');
  return pod.spec.containers.find(({ name }) => name === 'istio-proxy')?.image ?? '';
}

describe('packet capture', () => {
  proves("the pod's nat table leads all traffic through the sidecar", async () => {
    await apply(mesh, ruleViewer('rules', await sidecarImage()));
    const chains = await chainsOf(mesh, 'rules');
    assert.deepEqual(Object.keys(chains).sort(), Object.keys(shell2).sort());
    for (const chain of ['PREROUTING', 'ISTIO_IN_REDIRECT', 'ISTIO_REDIRECT'])
      assert.deepEqual(chains[chain], shell2[chain], chain);
    assert.equal(chains['ISTIO_INBOUND']?.at(-1), shell2['ISTIO_INBOUND']?.at(-1));
    assert.equal(chains['ISTIO_OUTPUT']?.at(-1), shell2['ISTIO_OUTPUT']?.at(-1));
    await kubectl(['-n', mesh, 'delete', 'pod', 'rules', '--wait=false']);
  });

  proves('under compatibility 1.8 it is that of [Shell 2], rule for rule', async () => {
    const image = await sidecarImage();
    const manifest = ruleViewer('rules-1-8', image).replace(
      'labels:',
      `annotations: {sidecar.istio.io/proxyImage: "${image}"}, labels:`,
    );
    const injected = await trysail(['kube-inject', '--compatibility-version', '1.8', '-f', '-'], {
      input: manifest,
    });
    assert.match(injected, /DNS_AGENT/);
    // The release pulls always; the cluster has the image.
    await apply(plain, injected.replaceAll('imagePullPolicy: Always', 'imagePullPolicy: IfNotPresent'));
    assert.deepEqual(await chainsOf(plain, 'rules-1-8'), shell2);
    await kubectl(['-n', plain, 'delete', 'pod', 'rules-1-8', '--wait=false']);
  });
});
