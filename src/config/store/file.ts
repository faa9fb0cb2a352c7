/**
 * A store of files and folders that follows them while people edit. A broken file or object is reported with its
 * place, and the last good state of it stays in force.
 */
import type { Logger } from '#base/log.ts';
import { silentLogger } from '#base/log.ts';
import type { Resource } from '../resource.ts';
import { type ConfigError, idOf } from '../yaml/config_error.ts';
import { parseResources } from '../yaml/parse.ts';
import { type FileSet, type FoundFile, findFiles, isProgramFile, readChanged } from './file_set.ts';
import { createMemoryStore } from './memory.ts';
import type { ConfigStore } from './store.ts';
import { Watcher } from './watcher.ts';

/**
 * A file that vanished or became empty is looked at once more after this time before its objects go: editors replace
 * files in several steps.
 */
const graceMs = 80;

/** Hears all errors and warnings in force, whenever they change; empty lists when all is well again. */
export type ProblemListener = (errors: readonly ConfigError[], warnings: readonly ConfigError[]) => void;

/** Options of a file store. */
export interface FileStoreOptions {
  /**
   * Files; folders, read with their subfolders (*.yaml, *.yml, *.json; nothing hidden); and patterns in a last segment
   * (`folder/*.yaml`), which read one folder without subfolders.
   */
  readonly paths: readonly string[];
  readonly onProblem?: ProblemListener;
  readonly log?: Logger;
  /** For namespaced objects that name none. Default `default`. */
  readonly defaultNamespace?: string;
  /** Files inside folders to leave out. Default: trysail.yaml. */
  readonly ignore?: (path: string) => boolean;
  /** Whether changes are followed. Default true. */
  readonly watch?: boolean;
}

/** A store of files. */
export interface FileStore extends ConfigStore {
  /** Stops following. No listener is called after it returns. */
  close(): Promise<void>;
  /** What is wrong with the files now. */
  problems(): { readonly errors: readonly ConfigError[]; readonly warnings: readonly ConfigError[] };
}

/** What is in force of one file, and what is wrong with it. */
interface FileState {
  readonly stamp: string;
  readonly hash: string;
  readonly isEmpty: boolean;
  readonly good: ReadonlyMap<string, Resource>;
  readonly errors: readonly ConfigError[];
  readonly warnings: readonly ConfigError[];
  /** Set while the grace time runs. */
  readonly vanishingSince?: number;
}

function keyOf({ kind, namespace, name }: { kind: string; namespace: string; name: string }): string {
  return `${kind}/${namespace}/${name}`;
}

function unreadable(file: string, reason: string): ConfigError {
  return { code: 'unreadable', message: `cannot read: ${reason}`, file, line: 1, column: 1, path: '' };
}

/**
 * Opens files and folders. Resolves once all have been read, whatever is wrong with them: ask `problems()`. A path
 * that does not exist is a problem, and is read when it appears.
 */
export async function openFileStore(options: FileStoreOptions): Promise<FileStore> {
  const log = options.log ?? silentLogger;
  const memory = createMemoryStore({ synced: false });
  const states = new Map<string, FileState>();
  const owners = new Map<string, string>();
  let errors: readonly ConfigError[] = [];
  let warnings: readonly ConfigError[] = [];
  let lastProblems = '[[],[]]';
  let closed = false;
  const watcher = new Watcher(look, log);

  /** The new state of a file that was found; the old one while nothing is to change. */
  async function refresh(
    { path, named }: FoundFile,
    old: FileState | undefined,
  ): Promise<FileState | undefined> {
    const content = await readChanged(path, old);
    if (content.type === 'unreadable') return vanish(path, old, content.reason);
    if (content.type === 'unchanged') {
      if (old === undefined) return undefined;
      const { vanishingSince: _, ...rest } = old;
      return { ...rest, stamp: content.stamp };
    }
    if (content.text.trim() === '' && old !== undefined && !old.isEmpty && old.good.size > 0) {
      const waiting = wait(old);
      if (waiting !== undefined) return waiting;
    }
    const parsed = parseResources(content.text, path, {
      defaultNamespace: options.defaultNamespace ?? 'default',
      allowForeign: !named,
    });
    const good = new Map(parsed.resources.map((resource) => [keyOf(idOf(resource)), resource]));
    const keep = parsed.complete ? parsed.rejected.map(keyOf) : [...(old?.good.keys() ?? [])];
    for (const key of keep) {
      const last = old?.good.get(key);
      if (last !== undefined && !good.has(key)) good.set(key, last);
    }
    const { stamp, hash } = content;
    return {
      stamp,
      hash,
      isEmpty: content.text.trim() === '',
      good,
      errors: parsed.errors,
      warnings: parsed.warnings,
    };
  }

  /** The old state with its grace time running; undefined when it has run out. */
  function wait(old: FileState): FileState | undefined {
    const since = old.vanishingSince ?? performance.now();
    const left = since + graceMs - performance.now();
    if (left <= 0) return undefined;
    watcher.lookIn(left);
    return { ...old, vanishingSince: since };
  }

  function vanish(path: string, old: FileState | undefined, reason: string): FileState | undefined {
    const waiting = old === undefined ? undefined : wait(old);
    if (waiting !== undefined) return waiting;
    // Permission denied and the like are no deletion: what was read last stays.
    if (reason === 'no such file or folder') return undefined;
    const empty = { stamp: '', hash: '', isEmpty: false, good: new Map<string, Resource>(), warnings: [] };
    return { ...(old ?? empty), stamp: '', errors: [unreadable(path, reason)] };
  }

  async function look(): Promise<void> {
    const found = await findFiles(options.paths, options.ignore ?? isProgramFile);
    if (options.watch !== false) watcher.setFolders(found.folders);
    const next = new Map<string, FileState>();
    for (const file of found.files) {
      const state = await refresh(file, states.get(file.path));
      if (state !== undefined) next.set(file.path, state);
    }
    for (const [path, old] of states) {
      if (next.has(path)) continue;
      const waiting = wait(old);
      if (waiting !== undefined) next.set(path, waiting);
    }
    if (closed) return;
    states.clear();
    for (const [path, state] of next) states.set(path, state);
    publish(found);
  }

  /** Joins the files: an object that stands in two of them belongs to the one that had it first. */
  function publish(found: FileSet): void {
    const foundErrors: ConfigError[] = found.missing
      .filter(({ path }) => !states.has(path))
      .map(({ path, reason }) => unreadable(path, reason));
    const foundWarnings: ConfigError[] = [];
    const resources: Resource[] = [];
    for (const [key, path] of owners) if (states.get(path)?.good.has(key) !== true) owners.delete(key);
    for (const [path, state] of states) {
      for (const key of state.good.keys()) if (!owners.has(key)) owners.set(key, path);
    }
    for (const [path, state] of states) {
      foundErrors.push(...state.errors);
      foundWarnings.push(...state.warnings);
      for (const [key, resource] of state.good) {
        const owner = owners.get(key) ?? path;
        if (owner === path) resources.push(resource);
        else foundErrors.push(duplicate(path, resource, states.get(owner)?.good.get(key)));
      }
    }
    errors = foundErrors;
    warnings = foundWarnings;
    memory.replaceAll(resources);
    const text = JSON.stringify([errors, warnings]);
    if (text === lastProblems) return;
    lastProblems = text;
    options.onProblem?.(errors, warnings);
  }

  await look();
  memory.markSynced();
  return {
    list: memory.list,
    get: memory.get,
    subscribe: memory.subscribe,
    get synced() {
      return memory.synced;
    },
    async close() {
      closed = true;
      await watcher.close();
    },
    problems: () => ({ errors, warnings }),
  };
}

function duplicate(path: string, resource: Resource, first: Resource | undefined): ConfigError {
  const { line, column } = resource.source ?? { line: 1, column: 1 };
  const place = first?.source;
  const where = place === undefined ? '' : ` at ${place.file}:${place.line}:${place.column}`;
  const message = `the same object stands already${where}: the first one stays`;
  return { code: 'duplicate_object', message, file: path, line, column, path: '', resource: idOf(resource) };
}
