/** Watches folders and says "look again": events of the system, and a slow poll for those that get lost. */
import { type FSWatcher, watch } from 'node:fs';
import type { Logger } from '#base/log.ts';

/** Quiet time after an event before looking; an editor's several steps count as one. */
const quietMs = 40;
/** Longest delay while events keep coming. */
const maxDelayMs = 100;
/** Poll for lost events, and where the system gives none (network file systems, no more watches). */
const pollMs = 2000;
const pollWithoutEventsMs = 500;

/** Calls `look` after changes in the watched folders. Calls never overlap. */
export class Watcher {
  readonly #look: () => Promise<void>;
  readonly #log: Logger;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #poll: NodeJS.Timeout | undefined;
  #firstEventAt = 0;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #eventsFail = false;

  constructor(look: () => Promise<void>, log: Logger) {
    this.#look = look;
    this.#log = log;
  }

  /** Sets the folders to watch; those not named any more are let go. */
  setFolders(folders: readonly string[]): void {
    if (this.#closed) return;
    const wanted = new Set(folders);
    for (const [folder, watcher] of this.#watchers) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of wanted) if (!this.#watchers.has(folder)) this.#watch(folder);
    this.#schedulePoll();
  }

  /** Looks after a delay, as if something had changed. */
  lookIn(delayMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#run(), delayMs);
    this.#timer.unref();
  }

  /** Stops; a look that is under way is waited for. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#poll);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    await this.#running;
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#changed());
      watcher.on('error', () => {
        // The folder went away; the next look says what is left.
        watcher.close();
        this.#watchers.delete(folder);
        this.#changed();
      });
      this.#watchers.set(folder, watcher);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || this.#eventsFail) return;
      this.#eventsFail = true;
      this.#log.warn('cannot watch for changes, polling instead', { folder, error });
    }
  }

  #changed(): void {
    const now = performance.now();
    if (this.#firstEventAt === 0) this.#firstEventAt = now;
    const left = this.#firstEventAt + maxDelayMs - now;
    this.lookIn(Math.max(0, Math.min(quietMs, left)));
  }

  #schedulePoll(): void {
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => this.#run(), this.#eventsFail ? pollWithoutEventsMs : pollMs);
    this.#poll.unref();
  }

  #run(): void {
    this.#firstEventAt = 0;
    if (this.#closed) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#running = this.#look()
      .catch((error: unknown) => this.#log.error('reading configuration failed', { error }))
      .then(() => {
        this.#running = undefined;
        this.#schedulePollIfOpen();
        if (!this.#again) return;
        this.#again = false;
        this.#run();
      });
  }

  #schedulePollIfOpen(): void {
    if (!this.#closed) this.#schedulePoll();
  }
}
