/**
 * A real API server for tests: etcd and kube-apiserver on loopback, with their own keys, in a folder of their own. The
 * server can be killed, started again on the same state, and robbed of its history. No controllers run beside it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeClient, type KubeClientOptions } from '#kube/client.ts';
import { kubeConfigAccess } from '#kube/kube_config.ts';
import { issueLeaf, issueRoot } from '#security/pki/certificate.ts';
import { makeKeyPair, privateKeyPem } from '#security/pki/keys.ts';

function which(name: string): string | undefined {
  const cache = process.env['K8S_CACHE'] ?? join(homedir(), '.cache', 'debian-k8s');
  const cached = join(cache, 'bin', name);
  if (existsSync(cached)) return cached;
  try {
    return (
      execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${name}`], {
        encoding: 'utf8',
      }).trim() || undefined
    );
  } catch {
    return undefined;
  }
}

/** The binaries, on the PATH or in the cache of the test cluster; undefined when one is missing. */
export function kubeBinaries(): { readonly etcd: string; readonly apiServer: string } | undefined {
  const etcd = which('etcd');
  const apiServer = which('kube-apiserver');
  return etcd === undefined || apiServer === undefined ? undefined : { etcd, apiServer };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function stop(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

/** Options of a server. */
export interface KubeApiServerOptions {
  /** More flags of kube-apiserver. */
  readonly flags?: readonly string[];
}

/** etcd and kube-apiserver. */
export class KubeApiServer {
  readonly directory: string;
  readonly port: number;
  readonly kubeconfig: string;
  readonly #flags: readonly string[];
  readonly #etcdPort: number;
  #etcd: ChildProcess | undefined;
  #apiServer: ChildProcess | undefined;

  private constructor(directory: string, port: number, etcdPort: number, flags: readonly string[]) {
    this.directory = directory;
    this.port = port;
    this.kubeconfig = join(directory, 'kubeconfig');
    this.#etcdPort = etcdPort;
    this.#flags = flags;
  }

  /** Starts both; resolves when the server is ready. */
  static async start(options: KubeApiServerOptions = {}): Promise<KubeApiServer> {
    const directory = mkdtempSync(join(tmpdir(), 'kube-api-'));
    const server = new KubeApiServer(directory, await freePort(), await freePort(), options.flags ?? []);
    try {
      await server.#writeKeys();
      await server.#startEtcd();
      await server.startApiServer();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** A client with all rights. */
  async client(
    options: Omit<KubeClientOptions, 'access'> = {},
    kubeconfig = this.kubeconfig,
  ): Promise<KubeClient> {
    const access = await kubeConfigAccess({ paths: [kubeconfig], environment: {} });
    return new KubeClient({ access, ...options });
  }

  /** Writes a kubeconfig with another token or address. */
  writeKubeconfig(name: string, user: { readonly token: string }, server = this.url): string {
    const path = join(this.directory, name);
    writeFileSync(
      path,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          { name: 'test', cluster: { server, 'certificate-authority': join(this.directory, 'ca.pem') } },
        ],
        users: [{ name: 'test', user }],
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
        'current-context': 'test',
      }),
    );
    return path;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  /** SIGKILL, in the middle of whatever it does. */
  async killApiServer(): Promise<void> {
    await stop(this.#apiServer, 'SIGKILL');
    this.#apiServer = undefined;
  }

  /** Starts the API server on the state that is there, with more flags if need be; resolves when it is ready. */
  async startApiServer(flags: readonly string[] = []): Promise<void> {
    const file = (name: string): string => join(this.directory, name);
    this.#apiServer = this.#spawn('apiserver', kubeBinaries()!.apiServer, [
      '--etcd-servers',
      `http://127.0.0.1:${this.#etcdPort}`,
      '--service-cluster-ip-range=10.96.0.0/16',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${file('sa.pem')}`,
      `--service-account-signing-key-file=${file('sa.key')}`,
      '--api-audiences=istio-ca,https://kubernetes.default.svc',
      `--token-auth-file=${file('tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--disable-admission-plugins=ServiceAccount',
      `--tls-cert-file=${file('api.pem')}`,
      `--tls-private-key-file=${file('api.key')}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${this.port}`,
      '--advertise-address=192.0.2.1',
      '--endpoint-reconciler-type=none',
      `--cert-dir=${file('certs')}`,
      ...this.#flags,
      ...flags,
    ]);
    const client = await this.client({ maxTries: 1, timeoutMs: 2000 });
    try {
      await this.#until('kube-apiserver', this.#apiServer, async () => {
        await client.request({ method: 'GET', path: '/api/v1/namespaces/default' });
      });
    } finally {
      client.close();
    }
  }

  /** Drops all history of etcd up to now. */
  async compact(): Promise<void> {
    const call = async (path: string, body: object): Promise<{ header?: { revision?: string } }> => {
      const response = await fetch(`http://127.0.0.1:${this.#etcdPort}${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      const text = await response.text();
      // Code 11: that revision has been dropped already.
      if (!response.ok && !/"code":11\b/.test(text)) throw new Error(`etcd ${path}: ${text}`);
      return JSON.parse(text) as { header?: { revision?: string } };
    };
    const { header } = await call('/v3/kv/range', { key: Buffer.from('nothing').toString('base64') });
    await call('/v3/kv/compaction', { revision: header?.revision });
  }

  /** Ends both and removes the folder. */
  async close(): Promise<void> {
    await stop(this.#apiServer, 'SIGKILL');
    await stop(this.#etcd, 'SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #startEtcd(): Promise<void> {
    const url = `http://127.0.0.1:${this.#etcdPort}`;
    const peer = `http://127.0.0.1:${await freePort()}`;
    this.#etcd = this.#spawn('etcd', kubeBinaries()!.etcd, [
      `--data-dir=${join(this.directory, 'etcd')}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
    ]);
    await this.#until('etcd', this.#etcd, async () => {
      const response = await fetch(`${url}/health`);
      if (!response.ok) throw new Error(`status ${response.status}`);
    });
  }

  #spawn(name: string, binary: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.directory, `${name}.log`), 'a');
    const child = spawn(binary, args, { stdio: ['ignore', log, log], cwd: this.directory });
    closeSync(log);
    return child;
  }

  async #until(name: string, child: ChildProcess, probe: () => Promise<void>): Promise<void> {
    const end = Date.now() + 90_000;
    for (;;) {
      try {
        await probe();
        return;
      } catch (error) {
        const log = name === 'etcd' ? 'etcd.log' : 'apiserver.log';
        const tail = (): string => readFileSync(join(this.directory, log), 'utf8').slice(-3000);
        if (child.exitCode !== null) throw new Error(`${name} ended:\n${tail()}`, { cause: error });
        if (Date.now() > end) throw new Error(`${name} is not ready:\n${tail()}`, { cause: error });
        await sleep(100);
      }
    }
  }

  async #writeKeys(): Promise<void> {
    const write = (name: string, text: string): void =>
      writeFileSync(join(this.directory, name), text, { mode: 0o600 });
    const [root, api, account] = await Promise.all([makeKeyPair(), makeKeyPair(), makeKeyPair('rsa-2048')]);
    const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 86_400_000 };
    const rootPem = issueRoot(root, 'test', validity);
    const issuer = { certificate: new X509Certificate(rootPem), privateKey: root.privateKey };
    const names = { uris: [], dnsNames: ['127.0.0.1', '10.96.0.1', 'kubernetes.default.svc'] };
    write('ca.pem', rootPem);
    write('api.pem', issueLeaf(issuer, api.publicKey, names, validity));
    write('api.key', privateKeyPem(api.privateKey));
    write('sa.key', privateKeyPem(account.privateKey));
    write('sa.pem', account.publicKey.export({ type: 'spki', format: 'pem' }).toString());
    write('tokens.csv', 'admintoken,admin,admin,"system:masters"\n');
    this.writeKubeconfig('kubeconfig', { token: 'admintoken' });
  }
}
