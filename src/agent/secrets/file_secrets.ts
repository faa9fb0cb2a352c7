/**
 * Secrets in files that configuration names: `file-cert:CERT~KEY` and `file-root:PATH` (Istio's SDS names for
 * DestinationRules and gateways with certificates in mounted files). Files are looked at for changes.
 */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import type { Logger } from '#base/log.ts';
import type { SecretSnapshot, SecretSource } from './secret_source.ts';

const certPrefix = 'file-cert:';
const rootPrefix = 'file-root:';

/** Most names that are watched at one time. */
const maxNames = 1000;

/** Most bytes of one file. */
const maxFileBytes = 1024 * 1024;

type FileNames =
  | { readonly kind: 'key_cert'; readonly paths: readonly [cert: string, key: string] }
  | { readonly kind: 'roots'; readonly paths: readonly [roots: string] };

/** The files of a name, undefined when the name is of neither form or a path is not absolute. */
export function parseFileSecret(name: string): FileNames | undefined {
  if (name.startsWith(certPrefix)) {
    const [cert = '', key = '', ...rest] = name.slice(certPrefix.length).split('~');
    if (rest.length > 0 || !isAbsolute(cert) || !isAbsolute(key)) return undefined;
    return { kind: 'key_cert', paths: [cert, key] };
  }
  if (name.startsWith(rootPrefix)) {
    const path = name.slice(rootPrefix.length);
    return isAbsolute(path) ? { kind: 'roots', paths: [path] } : undefined;
  }
  return undefined;
}

interface Watched {
  readonly files: FileNames;
  /** What the files' metadata said when they were read. */
  stamp: string;
  snapshot: SecretSnapshot | undefined;
}

/** Owns the timer that looks for changes. */
export class FileSecrets implements SecretSource {
  readonly #watched = new Map<string, Watched>();
  readonly #listeners = new Set<(names: readonly string[]) => void>();
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #looking = false;

  /** @param intervalMs time between two looks, default 1 s. */
  constructor(log: Logger, intervalMs = 1000) {
    this.#log = log.scope('cache');
    this.#timer = setInterval(() => void this.#look(), intervalMs);
    this.#timer.unref();
  }

  get(name: string): SecretSnapshot | undefined {
    return this.#watched.get(name)?.snapshot;
  }

  subscribe(listener: (names: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  request(name: string): void {
    const files = parseFileSecret(name);
    if (files === undefined || this.#watched.has(name)) return;
    if (this.#watched.size >= maxNames) {
      this.#log.error('too many secrets in files', { name, limit: maxNames });
      return;
    }
    this.#watched.set(name, { files, stamp: '', snapshot: undefined });
    void this.#look();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const changed: string[] = [];
      for (const [name, watched] of this.#watched) if (await this.#refresh(name, watched)) changed.push(name);
      if (changed.length > 0) for (const listener of this.#listeners) listener(changed);
    } finally {
      this.#looking = false;
    }
  }

  /** True when there is a new content. A file that has gone or is too large leaves the old content in use. */
  async #refresh(name: string, watched: Watched): Promise<boolean> {
    try {
      const stats = await Promise.all(watched.files.paths.map((path) => stat(path)));
      const stamp = stats.map(({ ino, size, mtimeMs }) => `${ino}.${size}.${mtimeMs}`).join(' ');
      if (stamp === watched.stamp) return false;
      if (stats.some(({ size }) => size > maxFileBytes)) throw new Error(`more than ${maxFileBytes} bytes`);
      const [first = '', second = ''] = await Promise.all(
        watched.files.paths.map((path) => readFile(path, 'utf8')),
      );
      watched.stamp = stamp;
      watched.snapshot =
        watched.files.kind === 'roots'
          ? { kind: 'roots', roots: first }
          : { kind: 'key_cert', certChain: first, privateKey: second };
      return true;
    } catch (error) {
      if (watched.stamp !== 'failed') this.#log.warn('secret not read', { name, error });
      watched.stamp = 'failed';
      return false;
    }
  }
}
