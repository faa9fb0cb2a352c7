/** Our rendering of the charts is Helm's: recorded with Helm itself (scripts/gen/helm_recordings.ts). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { loadChart, renderChart } from './chart.ts';
import { comparable, helmCases, recordingOf } from './helm_cases_for_tests.ts';
import { ownerLabel } from './manifests.ts';

describe('charts rendered as by Helm', () => {
  for (const example of helmCases)
    it(example.name, () => {
      const { chart: name, release, namespace, kubeVersion, values } = example;
      const chart = loadChart(name);
      const manifests = renderChart(chart, values, {
        name: release,
        namespace,
        service: ownerLabel.value,
        kubeVersion,
      });
      assert.deepEqual(
        comparable(manifests, chart.appVersion),
        JSON.parse(readFileSync(recordingOf(example), 'utf8')),
        'a chart changed: record it again with scripts/gen/helm_recordings.ts',
      );
    });
});
