/** `trysail x check-inject`: why a pod, or a set of labels, is injected or not, webhook by webhook. */
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import {
  type InjectorWebhook,
  type WebhookVerdict,
  checkInject,
  readInjectorWebhook,
} from '#inject/check_inject.ts';
import { readManifest } from '#inject/workload/yaml_text.ts';
import { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { commandAccess } from './kube_client.ts';
import { type Env, UsageError } from './main.ts';

type Labels = Readonly<Record<string, string>>;

interface Flags {
  readonly namespace?: string;
  readonly labels?: string;
  readonly namespaceLabels?: string;
  readonly filename: readonly string[];
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly output?: string;
}

/** What the webhooks are asked about. */
interface Subject {
  readonly webhooks: readonly InjectorWebhook[];
  readonly podLabels: Labels;
  readonly namespaceLabels: Labels;
}

const pods = apiResource('v1', 'pods');
const webhookConfigurations = apiResource(
  'admissionregistration.k8s.io/v1',
  'mutatingwebhookconfigurations',
  false,
);

/** `a=b,c=d`. */
function parseLabels(text: string | undefined, flag: string): Labels {
  const pairs = (text ?? '').split(',').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf('=');
      if (equals < 1)
        throw new UsageError(`--${flag}: expected key=value with commas, found ${JSON.stringify(pair)}`);
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}

/** `name`, `name.namespace` or `pod/name`. */
function parsePod(text: string, namespace: string): { readonly name: string; readonly namespace: string } {
  const name = text.replace(/^pods?\//, '');
  const dot = name.indexOf('.');
  return dot === -1 ? { name, namespace } : { name: name.slice(0, dot), namespace: name.slice(dot + 1) };
}

async function fromFiles(flags: Flags): Promise<Subject> {
  const documents = await Promise.all(
    flags.filename.map(async (file) => readManifest(await readFile(file, 'utf8'), file)),
  );
  return {
    webhooks: documents.flat().flatMap(({ value }) => readInjectorWebhook(value) ?? []),
    podLabels: parseLabels(flags.labels, 'labels'),
    namespaceLabels: parseLabels(flags.namespaceLabels, 'namespace-labels'),
  };
}

async function fromCluster(pod: string | undefined, flags: Flags, env: Env): Promise<Subject> {
  const access = await commandAccess(env, flags.kubeconfig, flags.context);
  const client = new KubeClient({ access });
  try {
    const place = pod === undefined ? undefined : parsePod(pod, flags.namespace ?? access.namespace);
    const namespace = place?.namespace ?? flags.namespace ?? access.namespace;
    const [found, inNamespace, configurations] = await Promise.all([
      place === undefined ? undefined : client.get<KubeObject>(pods, place.namespace, place.name),
      client.get<KubeObject>(apiResources.namespaces, undefined, namespace),
      client.listPage<KubeObject>(webhookConfigurations),
    ]);
    return {
      webhooks: configurations.items.flatMap((item) => readInjectorWebhook(item) ?? []),
      podLabels: found === undefined ? parseLabels(flags.labels, 'labels') : (found.metadata.labels ?? {}),
      namespaceLabels: inNamespace.metadata.labels ?? {},
    };
  } finally {
    client.close();
  }
}

/** A table with columns as wide as they must be. */
function table(verdicts: readonly WebhookVerdict[]): string {
  const rows = [
    ['WEBHOOK', 'REVISION', 'INJECTED', 'REASON'],
    ...verdicts.map(({ webhook, revision, injected, reason }) => [
      webhook,
      revision,
      injected ? '✔' : '✘',
      reason,
    ]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

function checkInjectCommand(env: Env): Command {
  return new Command('check-inject')
    .description('say why a pod is, or is not, injected')
    .argument('[pod]', 'name, or name.namespace; without it --labels are those of the pod')
    .option('-n, --namespace <name>', "namespace; default that of the kubeconfig's context")
    .option('-l, --labels <labels>', 'labels of a pod that need not exist: a=b,c=d')
    .option('--namespace-labels <labels>', 'labels of the namespace, with --filename')
    .option(
      '-f, --filename <file>',
      'MutatingWebhookConfigurations from a file, in place of a cluster; may be repeated',
      (value: string, all: readonly string[]) => [...all, value],
      [] as readonly string[],
    )
    .option('-o, --output <format>', 'json, or a table')
    .option('--kubeconfig <file>', 'access to a cluster; default $KUBECONFIG')
    .option('--context <name>', 'context of the kubeconfig')
    .action(async (pod: string | undefined, flags: Flags) => {
      const offline = flags.filename.length > 0;
      if (offline && pod !== undefined)
        throw new UsageError('a pod is read from a cluster: leave --filename out');
      if (!offline && pod === undefined && flags.labels === undefined && flags.namespace === undefined)
        throw new UsageError('name a pod, --labels or --namespace');
      const subject = offline ? await fromFiles(flags) : await fromCluster(pod, flags, env);
      const verdicts = checkInject(subject.webhooks, subject.podLabels, subject.namespaceLabels);
      const text = flags.output === 'json' ? `${JSON.stringify(verdicts, undefined, 2)}\n` : table(verdicts);
      process.stdout.write(
        verdicts.length === 0 && flags.output !== 'json' ? 'no injection webhook is installed\n' : text,
      );
    });
}

/** `trysail x`: commands whose form may still change. Exit code 0 when they ran, 1 on failure, 2 on wrong use. */
export function experimentalCommand(env: Env): Command {
  return new Command('x')
    .alias('experimental')
    .description('commands that may still change')
    .addCommand(checkInjectCommand(env));
}
