/** `trysail tag`: further names of a revision, so that namespaces need no new label for a new revision. */
import { Command } from 'commander';
import { formatColumns } from '#base/columns.ts';
import {
  type RevisionTag,
  type TagInUse,
  listTags,
  removeTag,
  setTag,
  tagManifest,
} from '#install/revision_tags.ts';
import { KubeError } from '#kube/kube_error.ts';
import { type AccessFlags, addAccess, withClient } from './install.ts';
import { type Env, UsageError } from './main.ts';
import { manifestText } from './manifest.ts';

interface Flags extends AccessFlags {
  readonly istioNamespace: string;
}

interface SetFlags extends Flags {
  readonly revision: string;
  readonly overwrite?: boolean;
}

function subcommand(name: string, summary: string): Command {
  return new Command(name)
    .description(summary)
    .option('-i, --istioNamespace <name>', 'namespace of the control plane', 'istio-system');
}

/** What is refused by us is wrong use; what the server says stays what it is. */
async function orUsage<T>(run: () => Promise<T> | T): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof KubeError || !(error instanceof Error)) throw error;
    throw new UsageError(error.message);
  }
}

function table(tags: readonly TagInUse[]): string {
  return formatColumns([
    ['TAG', 'REVISION', 'NAMESPACES'],
    ...tags.map(({ tag, revision, namespaces }) => [tag, revision, namespaces.join(',')]),
  ])
    .map((line) => `${line}\n`)
    .join('');
}

async function remove(flags: Flags & { readonly yes?: boolean }, env: Env, name: string): Promise<void> {
  await withClient(flags, env, async (client) => {
    const tags = await listTags(client, flags.istioNamespace);
    const found = tags.find(({ tag }) => tag === name);
    if (found === undefined) throw new UsageError(`there is no tag ${name} in ${flags.istioNamespace}`);
    if (found.namespaces.length > 0 && flags.yes !== true)
      throw new UsageError(
        `namespaces ${found.namespaces.join(', ')} use tag ${name}: pods there would get no sidecars; --yes removes it`,
      );
    await removeTag(client, found);
    process.stdout.write(`tag ${name} removed\n`);
  });
}

/** Exit code 0, or 2 on wrong use: a revision that is not installed, a tag that stands for another. */
export function tagCommand(env: Env): Command {
  const set = addAccess(subcommand('set', 'let a tag stand for a revision'))
    .argument('<tag>', 'name that namespaces carry in istio.io/rev; default: also istio-injection=enabled')
    .requiredOption('-r, --revision <name>', 'revision that is installed')
    .option('--overwrite', 'also when the tag stands for another revision')
    .action((tag: string, flags: SetFlags) =>
      withClient(flags, env, async (client) => {
        const { revision, istioNamespace: namespace, overwrite = false } = flags;
        await orUsage(() => setTag(client, { tag, revision, namespace }, overwrite));
        process.stdout.write(`tag ${tag} stands for revision ${revision}\n`);
      }),
    );
  const generate = subcommand('generate', 'print the webhooks of a tag, as YAML')
    .argument('<tag>')
    .requiredOption('-r, --revision <name>', 'revision')
    .action(async (tag: string, { revision, istioNamespace: namespace }: SetFlags) => {
      const wanted: RevisionTag = { tag, revision, namespace };
      process.stdout.write(manifestText([await orUsage(() => tagManifest(wanted))]));
    });
  const list = addAccess(subcommand('list', 'print tags, their revisions, and who uses them')).action(
    (flags: Flags) =>
      withClient(flags, env, async (client) => {
        const tags = await listTags(client, flags.istioNamespace);
        process.stdout.write(tags.length === 0 ? 'there are no tags\n' : table(tags));
      }),
  );
  const removal = addAccess(subcommand('remove', 'remove a tag'))
    .argument('<tag>')
    .option('-y, --yes', 'also while namespaces use it')
    .action((tag: string, flags: Flags & { readonly yes?: boolean }) => remove(flags, env, tag));
  return new Command('tag')
    .description('names for revisions')
    .addCommand(set)
    .addCommand(generate)
    .addCommand(list)
    .addCommand(removal);
}
