/** The files of a file store: what lies under its paths, and which of them changed since the last look. */
import { createHash } from 'node:crypto';
import { readFile, readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, matchesGlob } from 'node:path';

/** Deepest folder that is read, and most files in total. */
const maxDepth = 32;
const maxFiles = 10_000;
/** Largest file that is read, in bytes. */
const maxBytes = 16 * 1024 * 1024;
const extensions: ReadonlySet<string> = new Set(['.yaml', '.yml', '.json']);

/** A file that a path names, or that lies in a folder that a path names. */
export interface FoundFile {
  readonly path: string;
  /** False for files that were found in a folder. */
  readonly named: boolean;
}

/** What lies under the paths. */
export interface FileSet {
  /** In the order of the paths; inside folders sorted by name, subfolders after files. No file stands twice. */
  readonly files: readonly FoundFile[];
  /** Folders whose content decides about the files. */
  readonly folders: readonly string[];
  /** Paths that do not exist or cannot be read, with the reason. */
  readonly missing: readonly { readonly path: string; readonly reason: string }[];
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ENOENT') return 'no such file or folder';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  return error instanceof Error ? error.message : String(error);
}

/** Looks up what lies under the paths. */
export async function findFiles(
  paths: readonly string[],
  ignore: (path: string) => boolean,
): Promise<FileSet> {
  const files = new Map<string, FoundFile>();
  const folders = new Set<string>();
  const missing: { path: string; reason: string }[] = [];

  async function walk(folder: string, depth: number): Promise<void> {
    folders.add(folder);
    const entries = (await readdir(folder))
      .filter((name) => !name.startsWith('.') && name !== 'node_modules')
      .sort();
    const inner: string[] = [];
    for (const name of entries) {
      const path = join(folder, name);
      const status = await stat(path).catch(() => undefined);
      if (status?.isDirectory() === true) inner.push(path);
      else if (
        status?.isFile() === true &&
        extensions.has(extname(name)) &&
        !ignore(path) &&
        files.size < maxFiles
      ) {
        if (!files.has(path)) files.set(path, { path, named: false });
      }
    }
    for (const path of depth < maxDepth ? inner : []) await walk(path, depth + 1);
  }

  /** Files of one folder by a pattern: no subfolders, any extension that the pattern allows. */
  async function match(folder: string, pattern: string): Promise<void> {
    folders.add(folder);
    const names = await readdir(folder).catch((error: unknown) => {
      missing.push({ path: join(folder, pattern), reason: reasonOf(error) });
      return [];
    });
    for (const name of names.sort()) {
      const path = join(folder, name);
      if (name.startsWith('.') || !matchesGlob(name, pattern) || ignore(path) || files.has(path)) continue;
      const status = await stat(path).catch(() => undefined);
      if (status?.isFile() === true && files.size < maxFiles) files.set(path, { path, named: false });
    }
  }

  for (const path of paths) {
    if (basename(path).includes('*')) {
      await match(dirname(path), basename(path));
      continue;
    }
    try {
      const status = await stat(path);
      if (status.isDirectory()) {
        await walk(path, 0);
      } else {
        folders.add(dirname(path));
        files.set(path, { path, named: true });
      }
    } catch (error) {
      folders.add(dirname(path));
      missing.push({ path, reason: reasonOf(error) });
    }
  }
  return { files: [...files.values()], folders: [...folders], missing };
}

/** Content of a file, or why there is none. */
export type FileContent =
  | { readonly type: 'text'; readonly text: string; readonly hash: string; readonly stamp: string }
  | { readonly type: 'unchanged'; readonly stamp: string }
  | { readonly type: 'unreadable'; readonly reason: string };

/** Reads a file unless its stamp or its content is the known one. */
export async function readChanged(
  path: string,
  known?: { readonly stamp: string; readonly hash: string },
): Promise<FileContent> {
  try {
    const status = await stat(path, { bigint: true });
    const stamp = `${status.ino}/${status.size}/${status.mtimeNs}/${status.ctimeNs}`;
    if (stamp === known?.stamp) return { type: 'unchanged', stamp };
    if (status.size > maxBytes) return { type: 'unreadable', reason: `larger than ${maxBytes} bytes` };
    const bytes = await readFile(path);
    const hash = createHash('sha256').update(bytes).digest('hex');
    if (hash === known?.hash) return { type: 'unchanged', stamp };
    return { type: 'text', text: bytes.toString('utf8'), hash, stamp };
  } catch (error) {
    return { type: 'unreadable', reason: reasonOf(error) };
  }
}

/** `trysail.yaml` beside the objects is not one of them. */
export function isProgramFile(path: string): boolean {
  return basename(path) === 'trysail.yaml';
}
