/** MeshConfig from a plain file (`--meshConfig`), as the ConfigMap that the rest reads. Followed while people edit it. */
import { unwatchFile, watchFile } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Logger } from '#base/log.ts';
import { meshConfigMap, readMeshConfig } from '#config/mesh_config/config_map.ts';
import { type MemoryStore, createMemoryStore } from '#config/store/memory.ts';

/** How often the file is looked at. */
const intervalMs = 500;

/** A store with one ConfigMap. */
export interface MeshConfigFile {
  readonly store: MemoryStore;
  close(): void;
}

/**
 * Reads the file and follows it; a broken edit is logged and the last good state stays. A file that does not exist means
 * the defaults.
 * @param place of the ConfigMap.
 * @throws Error when the file is broken at start.
 */
export async function openMeshConfigFile(
  path: string,
  place: { readonly namespace: string; readonly name: string },
  log: Logger,
): Promise<MeshConfigFile> {
  const store = createMemoryStore();
  let last: string | undefined;
  const load = async (): Promise<readonly string[]> => {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return [];
    }
    if (text === last) return [];
    const result = readMeshConfig(text);
    if (!result.ok) return result.errors;
    last = text;
    store.put({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        ...place,
        labels: {},
        annotations: {},
        creationTimestamp: 0,
        resourceVersion: text,
      },
      body: { data: { [meshConfigMap.key]: text } },
      source: { file: path, line: 1, column: 1 },
    });
    return [];
  };
  const errors = await load();
  if (errors.length > 0) throw new Error(`${path}: ${errors.join('; ')}`);
  const reload = (): void => {
    load().then(
      (problems) => problems.forEach((problem) => log.error(`${path}: ${problem}`)),
      (error: unknown) => log.error(`${path} is not readable, the last state stays`, { error }),
    );
  };
  watchFile(path, { interval: intervalMs, persistent: false }, reload);
  return { store, close: () => unwatchFile(path, reload) };
}
