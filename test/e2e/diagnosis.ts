/** Cases of the end to end suite; one that fails prints what a person would look at next. */
import { type TestContext, it } from 'node:test';
import { type Pod, kubectl, logs, mesh, other, plain, read, readyColumn, system } from './kubectl.ts';

/** Lines of an agent's log that are printed. */
const tail = '--tail=40';

async function attempt(title: string, command: () => Promise<string>): Promise<string> {
  let text: string;
  try {
    text = await command();
  } catch (error) {
    text = (error as Error).message;
  }
  return text.trim() === '' ? '' : `--- ${title}\n${text.trimEnd()}\n`;
}

/** A pod that somebody should look at: not ready, or restarted. */
function isTroubled({ status }: Pod): boolean {
  return (
    status.phase !== 'Succeeded' &&
    (status.containerStatuses ?? [{ ready: false, restartCount: 0 }]).some(
      ({ ready, restartCount }) => !ready || restartCount > 0,
    )
  );
}

/** Pods, their events, logs of agents, status of proxies, log of the control plane. */
async function diagnosis(): Promise<string> {
  const parts: string[] = [];
  for (const namespace of [mesh, other, plain, system]) {
    parts.push(
      await attempt(`pods of ${namespace}`, () => kubectl(['-n', namespace, 'get', 'pods', '-o', 'wide'])),
    );
    parts.push(
      await attempt(`events of ${namespace}`, async () => {
        const text = await kubectl(['-n', namespace, 'get', 'events', '--sort-by=.lastTimestamp']);
        return text.split('\n').slice(-40).join('\n');
      }),
    );
    let pods: readonly Pod[] = [];
    try {
      pods = (await read<{ items: Pod[] }>(namespace, 'pods')).items;
    } catch {
      // The namespace is not there (yet): its pods have said so above.
    }
    const chosen = pods.filter((pod) => isTroubled(pod) || pod.metadata.name === 'client').slice(0, 6);
    for (const pod of chosen) {
      const { name } = pod.metadata;
      for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers])
        parts.push(
          await attempt(`${name} ${readyColumn(pod)}, log of ${container.name}`, () =>
            logs(namespace, name, container.name, tail),
          ),
        );
    }
  }
  const exec = ['-n', system, 'exec', 'deploy/istiod', '--', 'trysail', 'proxy-status'];
  parts.push(await attempt('proxy status', () => kubectl(exec)));
  parts.push(
    await attempt('control plane', () => kubectl(['-n', system, 'logs', 'deploy/istiod', '--tail=60'])),
  );
  return parts.join('');
}

/** A case; default 180 s. */
export function proves(
  name: string,
  body: (context: TestContext) => Promise<void>,
  timeoutMs = 180_000,
): void {
  it(name, { timeout: timeoutMs + 60_000 }, async (context) => {
    try {
      await Promise.race([
        body(context),
        new Promise((_, reject) =>
          setTimeout(() => reject(new Error(`no end in ${timeoutMs / 1000} s`)), timeoutMs).unref(),
        ),
      ]);
    } catch (error) {
      console.error(`=== ${name}: ${(error as Error).message}\n${await diagnosis()}`);
      throw error;
    }
  });
}
