/**
 * Writes what the charts of `deploy/helm` hold of our own code: kinds, rights, schemas of values, versions.
 *   node scripts/gen/charts.ts            writes
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Schema } from '#config/schema/schema.ts';
import { draft7, jsonSchema } from '#config/schema/json_schema.ts';
import { baseValues, gatewayValues, istiodValues } from '#install/values.ts';
import { type Right, clusterRights, namespaceRights } from '#pilot/bootstrap/kubernetes_rights.ts';
import { customResources } from './custom_resources.ts';

const root = join(import.meta.dirname, '../..');

function yaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false, indentSeq: false });
}

/** Rules with their reasons as comments. */
function rules(rights: readonly Right[]): string {
  return rights
    .map(({ reason, ...rule }) => `# ${reason[0]?.toUpperCase()}${reason.slice(1)}.\n${yaml([rule])}`)
    .join('');
}

function valuesSchema(schema: Schema<unknown>): string {
  const text = jsonSchema(schema, draft7);
  return `${JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', ...text }, undefined, 2)}\n`;
}

const gatewayCredentials = (right: Right): boolean => right.resources.includes('secrets');

/** Contents by path below the project's root. */
export function generatedCharts(): ReadonlyMap<string, string> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const owner = {
    'app.kubernetes.io/managed-by': '__MANAGED_BY__',
    'app.kubernetes.io/part-of': 'istio',
    'install.trysail.io/namespace': '__NAMESPACE__',
  };
  const files = new Map<string, string>([
    [
      'deploy/helm/base/files/crds.yaml',
      customResources(owner)
        .map((definition) => `---\n${yaml(definition)}`)
        .join(''),
    ],
    [
      'deploy/helm/istiod/files/cluster_rules.yaml',
      rules(clusterRights.filter((right) => !gatewayCredentials(right))),
    ],
    [
      'deploy/helm/istiod/files/gateway_credentials_rules.yaml',
      rules(clusterRights.filter(gatewayCredentials)),
    ],
    ['deploy/helm/istiod/files/namespace_rules.yaml', rules(namespaceRights)],
    ['deploy/helm/base/values.schema.json', valuesSchema(baseValues)],
    ['deploy/helm/istiod/values.schema.json', valuesSchema(istiodValues)],
    ['deploy/helm/gateway/values.schema.json', valuesSchema(gatewayValues)],
  ]);
  for (const chart of ['base', 'istiod', 'gateway']) {
    const path = `deploy/helm/${chart}/Chart.yaml`;
    files.set(
      path,
      readFileSync(join(root, path), 'utf8').replace(
        /^(version|appVersion): .*$/gm,
        (_, field: string) => `${field}: ${version}`,
      ),
    );
  }
  return files;
}

if (import.meta.main) for (const [path, text] of generatedCharts()) writeFileSync(join(root, path), text);
