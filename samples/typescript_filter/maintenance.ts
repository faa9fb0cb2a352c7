/**
 * An HTTP filter in TypeScript: answers 503 while a maintenance window is open, and stamps the answers of all other
 * requests with the time they took. Runs in `trysail proxy` and in sidecars (docs/typescript_filters.md).
 */
import type { TypeScriptFilterModule } from '#proxy/filters/http/typescript/module.ts';

const create: TypeScriptFilterModule = (config, { FilterStatus, log }) => {
  const { header = 'x-took-ms', closed = [] } = config;
  if (typeof header !== 'string') throw new Error('header: expected the name of a header');
  if (!Array.isArray(closed)) throw new Error('closed: expected a list of path prefixes');
  const prefixes = closed.map(String);
  log.info('maintenance filter', { header, prefixes });
  return {
    createFilter: (callbacks) => ({
      decodeHeaders(headers) {
        if (!prefixes.some((prefix) => headers.path.startsWith(prefix))) return FilterStatus.continue;
        callbacks.sendLocalReply({
          status: 503,
          body: 'back soon\n',
          details: 'maintenance',
          flags: 0,
          headers: [['retry-after', '120']],
        });
        return FilterStatus.stopIteration;
      },
      encodeHeaders(headers) {
        headers.set(header, (performance.now() - callbacks.streamInfo.start).toFixed(1));
        return FilterStatus.continue;
      },
    }),
  };
};

export default create;
