/** Bounds of access logs. */

/** A batch is written once it holds this many characters. */
export const flushAtChars = 64 * 1024;

/** Longest time a finished line waits for its batch, milliseconds. */
export const flushAfterMs = 50;

/** Characters that may wait for a slow file or pipe; lines beyond are dropped and counted. */
export const maxPendingChars = 4 * 1024 * 1024;
