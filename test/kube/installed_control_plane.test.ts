/** From the command line to a control plane that runs with the account of its installation, on a real API server. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';

const run = promisify(execFile);
const trysail = join(import.meta.dirname, '../../bin/trysail');
const namespace = 'istio-system';
const webhooks = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);

interface Webhooks extends KubeObject {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
}

describe(
  'an installed control plane',
  { skip: needs('etcd and kube-apiserver', kubeBinaries()), timeout: 280_000 },
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'installed-'));
    let server: KubeApiServer;
    let client: KubeClient;
    const pilots: ChildProcess[] = [];

    before(async () => {
      server = await KubeApiServer.start();
      client = await server.client();
    });
    after(async () => {
      for (const pilot of pilots) {
        if (pilot.exitCode !== null || pilot.signalCode !== null) continue;
        const exited = once(pilot, 'exit');
        pilot.kill('SIGKILL');
        await exited;
      }
      client?.close();
      await server?.close();
      rmSync(directory, { recursive: true, force: true });
    });

    const command = async (...args: string[]): Promise<string> => {
      const { stdout } = await run(process.execPath, [trysail, ...args, '--kubeconfig', server.kubeconfig], {
        cwd: directory,
        timeout: 120_000,
        env: { PATH: process.env['PATH'], HOME: directory },
      });
      return stdout;
    };

    /** Starts a control plane with the account that an installation made; gives what it logs. */
    async function start(name: string, revision: string): Promise<() => string> {
      const answer = await client.createSubresource<{ status: { token: string } }>(
        apiResource('v1', 'serviceaccounts'),
        namespace,
        name,
        'token',
        {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { audiences: ['https://kubernetes.default.svc'], expirationSeconds: 3600 },
        },
      );
      const kubeconfig = server.writeKubeconfig(name, { token: answer.status.token });
      const any = '127.0.0.1:0';
      const args = ['discovery', '--kubeconfig', kubeconfig, '--grpcAddr', '', '--secureGRPCAddr', any];
      args.push('--httpAddr', '', '--monitoringAddr', '', '--httpsAddr', any);
      const pilot = spawn(process.execPath, [trysail, 'pilot-discovery', ...args], {
        cwd: directory,
        env: {
          PATH: process.env['PATH'],
          POD_NAME: `${name}-1`,
          REVISION: revision,
          PILOT_READ_SECRETS: 'false',
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      pilots.push(pilot);
      let log = '';
      pilot.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
      return () => log;
    }

    async function until(what: string, holds: () => Promise<boolean>, log: () => string): Promise<void> {
      for (const end = Date.now() + 60_000; Date.now() < end; await sleep(100)) if (await holds()) return;
      assert.fail(`never: ${what}\n${log()}`);
    }

    const bundled = async (name: string): Promise<boolean> => {
      const found = await client.get<Webhooks>(webhooks, undefined, name);
      return found.webhooks.every(({ clientConfig }) => clientConfig.caBundle !== undefined);
    };

    it('does all it has to with the rights it was given', async () => {
      const printed = await command('install', '--no-wait');
      assert.match(printed, /^MutatingWebhookConfiguration istio-sidecar-injector: created$/m);
      const log = await start('istiod', 'default');
      await until('caBundle', () => bundled('istio-sidecar-injector'), log);
      await until(
        'the trust bundle',
        async () =>
          (await client.find(apiResources.configMaps, 'default', 'istio-ca-root-cert')) !== undefined,
        log,
      );
      assert.doesNotMatch(log(), /forbidden|\b403\b/i);
    });

    it('has a second one beside it, with a tag', async () => {
      await command('install', '--no-wait', '--revision', 'canary', '--set', 'base.enableCRDTemplates=false');
      await command('tag', 'set', 'prod', '--revision', 'canary');
      assert.match(await command('tag', 'list'), /^TAG +REVISION +NAMESPACES\nprod +canary$/m);
      const log = await start('istiod-canary', 'canary');
      await until('caBundle of the revision', () => bundled('istio-sidecar-injector-canary'), log);
      await until('caBundle of the tag', () => bundled('istio-revision-tag-prod'), log);
      assert.doesNotMatch(log(), /forbidden|\b403\b/i);
      await assert.rejects(command('tag', 'set', 'prod', '--revision', 'default'), /--overwrite/);
    });

    it('keeps its trust when it is installed again, and is gone after a purge', async () => {
      await command('install', '--no-wait', '--set', 'base.enableCRDTemplates=false');
      assert.ok(await bundled('istio-sidecar-injector'));
      for (const pilot of pilots) {
        const exited = once(pilot, 'exit');
        pilot.kill('SIGTERM');
        await exited;
      }
      await command('uninstall', '--purge');
      const left: string[] = [];
      const resources = [
        webhooks,
        apiResource('rbac.authorization.k8s.io/v1', 'clusterroles', false),
        apiResource('v1', 'services'),
        apiResource('apps/v1', 'deployments'),
        apiResource('v1', 'secrets'),
        apiResource('coordination.k8s.io/v1', 'leases'),
        apiResources.configMaps,
      ];
      for (const resource of resources)
        for (const { metadata } of (await client.listPage<KubeObject>(resource)).items)
          if (/istio|trysail/.test(`${metadata.name} ${JSON.stringify(metadata.labels ?? {})}`))
            left.push(`${resource.plural} ${metadata.name}`);
      assert.deepEqual(left, []);
    });
  },
);
