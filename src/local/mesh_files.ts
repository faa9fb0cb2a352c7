/** The files of a mesh: Kubernetes and Istio YAML, and `trysail.yaml`, which says what runs in place of images. */
import type { Logger } from '#base/log.ts';
import { createAppCommands, type AppCommands } from './app_commands.ts';
import type { ConfigStore } from '#config/store/store.ts';

export interface MeshFilesOptions {
  readonly paths: readonly string[];
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
