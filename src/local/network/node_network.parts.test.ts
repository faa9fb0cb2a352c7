/** Pods with real traffic, as root and as an ordinary user. */
import { test } from 'node:test';
import type { outside } from './pod_scenarios.ts';
import { runToEnd, sandboxRuns } from './sandbox_harness.ts';

const scenarios: Record<keyof typeof outside, string> = {
  reach: 'pods have addresses, names and files of their own and reach each other',
  users: 'applications run as the caller, sidecars as 1337, without privileges',
  capture: "a pod's traffic goes to its sidecar and is counted",
  plaintext: 'plaintext between pods is found',
  remove: 'a removed pod is gone with its processes, its address is free again',
  forward: "a port of the machine's loopback is a port of a pod",
};

for (const run of await sandboxRuns(process.env['CI'] === 'true'))
  for (const [name, title] of Object.entries(scenarios))
    test(`${title} (${run.name})`, { skip: run.skip, timeout: 40_000 }, () =>
      runToEnd(run.start('pod_scenarios.ts', `outside.${name}`)),
    );
