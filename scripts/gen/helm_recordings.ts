/**
 * Records what Helm makes of the charts, for src/install/helm.test.ts.
 *   node scripts/gen/helm_recordings.ts [HELM]     default `helm`; 3.16 or newer:
 *                                                  go install helm.sh/helm/v3/cmd/helm@v3.16.4
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';
import { type HelmCase, comparable, helmCases, recordingOf } from '#install/helm_cases_for_tests.ts';
import { type Manifest, ownerLabel } from '#install/manifests.ts';

const root = join(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** Objects as Helm renders them; it calls itself the manager of its objects. */
function template(helm: string, { chart, release, namespace, kubeVersion, values }: HelmCase): Manifest[] {
  const folder = mkdtempSync(join(tmpdir(), 'helm-'));
  try {
    const file = join(folder, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const args = ['template', release, join(root, 'deploy/helm', chart), '-n', namespace];
    const text = execFileSync(helm, [...args, '--kube-version', kubeVersion, '-f', file], {
      encoding: 'utf8',
      maxBuffer: 16 * 1024 * 1024,
      env: { HOME: folder, PATH: process.env['PATH'] },
    });
    return parseAllDocuments(
      text.replaceAll(`${ownerLabel.name}: "Helm"`, `${ownerLabel.name}: "${ownerLabel.value}"`),
      yamlOptions(),
    )
      .map((document) => document.toJS() as Manifest | null)
      .filter((manifest) => manifest !== null);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const helm = process.argv[2] ?? 'helm';
for (const example of helmCases) {
  const file = recordingOf(example);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(comparable(template(helm, example), version), undefined, 1)}\n`);
}
