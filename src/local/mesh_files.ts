/** The files of a mesh: Kubernetes and Istio YAML, and `trysail.yaml`, which says what runs in place of images. */
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Logger } from '#base/log.ts';
import { kinds } from '#config/kinds/kinds.ts';
import { resourceName } from '#config/resource.ts';
import { openFileStore } from '#config/store/file.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { TrysailFile } from '#config/trysail_file/types.ts';
import { readTrysailFile, trysailFileName } from '#config/trysail_file/validate.ts';
import { type ConfigError, formatConfigError } from '#config/yaml/config_error.ts';
import { createAppCommands, type AppCommands, type AppEntry } from './app_commands.ts';

export interface MeshFilesOptions {
  readonly paths: readonly string[];
  /** `trysail.yaml` files of which only the programs are taken. */
  readonly appFiles: readonly string[];
  readonly nodePath: string;
  readonly baseEnvironment: Readonly<Record<string, string>>;
  /** New problems, as lines `file:line:column: ...`. */
  readonly onProblems: (problems: readonly string[]) => void;
  /** Names of objects that came, changed or went after the start. */
  readonly onChanged: (names: readonly string[]) => void;
  readonly log: Logger;
}

export interface MeshFiles {
  readonly store: ConfigStore;
  readonly kinds: readonly string[];
  readonly apps: AppCommands;
  /** Problems that stand now. */
  problems(): readonly string[];
  close(): Promise<void>;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The `trysail.yaml` of a folder; undefined when there is none. Its problems are told. */
function readProgramFile(folder: string, tell: (problems: string[]) => void): TrysailFile | undefined {
  const path = join(folder, trysailFileName);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  const result = readTrysailFile(text, path);
  if (result.ok) return result.file;
  tell(result.errors.map(formatConfigError));
  return {};
}

/** Opens the files of the paths; a folder with `trysail.yaml` names its own files there. */
export async function openMeshFiles(options: MeshFilesOptions): Promise<MeshFiles> {
  const told = new Set<string>();
  const tell = (problems: readonly string[]): void => {
    const news = problems.filter((problem) => !told.has(problem));
    told.clear();
    for (const problem of problems) told.add(problem);
    if (news.length > 0) options.onProblems(news);
  };
  const paths: string[] = [];
  const entries: AppEntry[] = [];
  const read = new Set<string>();
  const programProblems: string[] = [];
  const addApps = (program: TrysailFile | undefined, folder: string): void => {
    read.add(resolve(folder));
    for (const { image, command, env } of program?.apps ?? []) {
      entries.push({ image, command, env: env ?? {}, directory: resolve(folder) });
    }
  };
  for (const path of options.paths) {
    const folder = isFolder(path) ? path : dirname(path);
    const isProgramFile = basename(path) === trysailFileName;
    const program = readProgramFile(folder, (problems) => programProblems.push(...problems));
    if (folder !== path && !isProgramFile) paths.push(path);
    else if (program?.resources === undefined) paths.push(folder);
    else paths.push(...program.resources.map((resource) => join(folder, resource)));
    if (!read.has(resolve(folder))) addApps(program, folder);
  }
  for (const path of options.appFiles) {
    const folder = dirname(path);
    const program = readProgramFile(folder, (problems) => programProblems.push(...problems));
    if (program === undefined) programProblems.push(`${path}: cannot be read`);
    if (!read.has(resolve(folder))) addApps(program, folder);
  }
  let current: readonly string[] = programProblems;
  const say = (errors: readonly ConfigError[], warnings: readonly ConfigError[]): void => {
    const warned = warnings.map((warning) => `warning: ${formatConfigError(warning)}`);
    current = [...programProblems, ...errors.map(formatConfigError), ...warned];
    tell(current);
  };
  const store = await openFileStore({
    paths,
    log: options.log,
    onProblem: say,
  });
  const { errors, warnings } = store.problems();
  say(errors, warnings);
  store.subscribe((changes) =>
    options.onChanged(changes.map(({ type, resource }) => `${resourceName(resource)} (${type})`)),
  );
  return {
    store,
    kinds: kinds.map(({ kind }) => kind),
    apps: createAppCommands(entries, options.nodePath, options.baseEnvironment),
    problems: () => current,
    close: () => store.close(),
  };
}
