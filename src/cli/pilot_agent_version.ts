/** Versions that the agent tells. */
import { readFileSync } from 'node:fs';

/** Version of Istio whose behaviour the control plane may expect of the node (`ISTIO_VERSION`). */
export const istioVersion = '1.31.0';

/** Version of the package. */
export function agentVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
