/** A Job ends although its sidecar is an ordinary container. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { proves } from './diagnosis.ts';
import { toolsImage } from './images.ts';
import { apply, kubectl, mesh, podsOf } from './kubectl.ts';

const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: once}}
    spec:
      restartPolicy: Never
      containers:
      - name: once
        image: ${toolsImage}
        command: [node, /pod/job.ts, "http://app:8080/"]
`;

describe('job', () => {
  proves('a Job completes: its application posts /quitquitquit', async () => {
    await apply(mesh, job);
    await kubectl(['-n', mesh, 'wait', '--for=condition=complete', 'job/once', '--timeout=120s'], {
      timeoutMs: 130_000,
    });
    const [pod] = await podsOf(mesh, 'app=once');
    assert.equal(pod?.status.phase, 'Succeeded');
    assert.equal(pod?.spec.containers.length, 2);
    await kubectl(['-n', mesh, 'delete', 'job', 'once']);
  });
});
