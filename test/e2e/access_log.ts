/** Access logs: none at first, then by MeshConfig, then by Telemetry for one workload, a namespace, and everything. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { proves } from './diagnosis.ts';
import { ask, during, kubectl, logs, mesh, other, podsOf, read, system, until } from './kubectl.ts';
import { accessLogMesh, telemetry } from './manifests.ts';

/** A line as [Shell 3] shows them. */
const line =
  /^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "GET \S+ HTTP\/1\.1" 200 - via_upstream - "-" \d+ \d+ \d+ \d+ "[^"]*" "[^"]*" "[0-9a-f-]{36}" "[^"]+" "[\d.]+:\d+" \S+ \S+ \S+ \S+ \S+ \S+$/;

/** Who is asked, in which namespace. */
const workloads = [
  { namespace: mesh, app: 'productpage', url: `http://productpage.${mesh}:9080/health` },
  { namespace: mesh, app: 'details', url: `http://details.${mesh}:9080/health` },
  { namespace: other, app: 'app', url: `http://app.${other}:8080/` },
] as const;

let mark = 0;

/** Asks everybody with a mark in the path; gives who wrote a line with it. */
async function whoLogs(): Promise<string[]> {
  const text = `mark=${++mark}`;
  for (const { url } of workloads) {
    const [answer] = await ask(mesh, `${url}?${text}`);
    assert.equal(answer!.status, 200, url);
  }
  // Lines are written in blocks, at the latest after a second.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const writers: string[] = [];
  for (const { namespace, app } of workloads) {
    const [pod] = await podsOf(namespace, `app=${app}`);
    const log = await logs(namespace, pod!.metadata.name, 'istio-proxy', '--since=60s');
    const found = log.split('\n').filter((one) => one.includes(`${text} `));
    if (found.length === 0) continue;
    writers.push(`${namespace}/${app}`);
    for (const one of found) assert.match(one, line);
  }
  return writers;
}

async function untilLogs(expected: readonly string[]): Promise<void> {
  let last: string[] = [];
  try {
    await until(
      `lines from ${expected.join(', ') || 'nobody'}`,
      async () => {
        last = await whoLogs();
        return last.join() === expected.join() ? true : undefined;
      },
      45_000,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}; they came from ${last.join(', ') || 'nobody'}`, {
      cause: error,
    });
  }
}

async function setMesh(text: string): Promise<void> {
  const patch = JSON.stringify({ data: { mesh: text } });
  await kubectl(['-n', system, 'patch', 'configmap', 'istio', '--type=merge', '-p', patch]);
}

const everybody = workloads.map(({ namespace, app }) => `${namespace}/${app}`);

describe('access log', () => {
  proves('none at first', async () => {
    assert.deepEqual(await whoLogs(), []);
  });

  proves(
    'everywhere after the change of MeshConfig of [File 3], and no more when it is taken back',
    async () => {
      const { data } = await read<{ data: { mesh: string } }>(system, 'configmap', 'istio');
      await setMesh(`${data.mesh.replace(/^\{\}\s*$/, '')}${accessLogMesh}`);
      try {
        await untilLogs(everybody);
      } finally {
        await setMesh(data.mesh);
      }
      await untilLogs([]);
    },
  );

  const cases: readonly [
    what: string,
    namespace: string,
    app: string | undefined,
    expected: readonly string[],
  ][] = [
    ['one workload, [File 4]', mesh, 'productpage', [`${mesh}/productpage`]],
    ['a whole namespace', mesh, undefined, [`${mesh}/productpage`, `${mesh}/details`]],
    ['all, from the root namespace', system, undefined, everybody],
  ];
  for (const [what, namespace, app, expected] of cases)
    proves(`Telemetry for ${what}`, async () => {
      await during(namespace, telemetry(app), () => untilLogs(expected));
      await untilLogs([]);
    });
});
