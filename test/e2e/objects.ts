/** All objects of the cluster, to tell what an installation has left behind. */
import { kubectl } from './kubectl.ts';

/** What comes and goes by itself. */
const passing =
  /^(events|pods|endpointslices|leases|replicasets|componentstatuses|controllerrevisions)(\.|$)/;

async function allObjects(): Promise<string[]> {
  const types = (await kubectl(['api-resources', '--verbs=list', '-o', 'name']))
    .trim()
    .split('\n')
    .filter((type) => !passing.test(type));
  const template = '{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}';
  const text = await kubectl(['get', types.join(','), '-A', '-o', `jsonpath=${template}`]);
  return text.trim().split('\n');
}

let before: ReadonlySet<string> = new Set();

/** Remembers what is there. */
export async function rememberObjects(): Promise<void> {
  before = new Set(await allObjects());
}

/** What is there and was not. */
export async function newObjects(): Promise<string[]> {
  return (await allObjects()).filter((name) => !before.has(name));
}
