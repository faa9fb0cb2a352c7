/** What main thread and workers agree on about shared counts. */

/** Name under which all workers count their downstream connections. */
export const connectionsName = 'downstream_connections';

/** Rows of the table: one per worker, and one of the main thread, which only reads. */
export function countedWorkers(concurrency: number): number {
  return concurrency + 1;
}
