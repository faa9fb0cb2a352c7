/** Renders the charts of `deploy/helm` as Helm does, by the template engine of injection. One source for both ways. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';
import type { ParsedTemplate } from '#inject/go_template/ast.ts';
import { type TemplateFunction, evaluate } from '#inject/go_template/evaluate.ts';
import { text } from '#inject/go_template/functions/arguments.ts';
import { builtinFunctions } from '#inject/go_template/functions/builtin.ts';
import { collectionFunctions } from '#inject/go_template/functions/collections.ts';
import { encodingFunctions, fromYaml } from '#inject/go_template/functions/encoding.ts';
import { stringFunctions } from '#inject/go_template/functions/strings.ts';
import { parseTemplate } from '#inject/go_template/parser.ts';
import { GoRecord, type Value, type ValueMap } from '#inject/go_template/values.ts';
import type { JsonObject } from '#inject/pod/shape.ts';
import { overlayValues } from '#inject/values.ts';
import type { Manifest } from './manifests.ts';

/** What a release is, as templates see it. */
export interface Release {
  readonly name: string;
  readonly namespace: string;
  /** Who manages its objects: value of `app.kubernetes.io/managed-by`. */
  readonly service: string;
  /** Version of Kubernetes, `v1.20.2`. */
  readonly kubeVersion: string;
}

/** A chart as it was read. */
export interface Chart {
  readonly name: string;
  readonly version: string;
  readonly appVersion: string;
  /** `values.yaml`. */
  readonly values: JsonObject;
  readonly templates: readonly ParsedTemplate[];
  readonly files: ReadonlyMap<string, string>;
}

const charts = new URL('../../deploy/helm/', import.meta.url).pathname;

/** Whether a version is at least the one of a constraint `>=1.21-0`, the only form that the charts use. */
function semverCompare(constraint: string, version: string): boolean {
  const wanted = /^>=(\d+)\.(\d+)-0$/.exec(constraint);
  const found = /^v?(\d+)\.(\d+)/.exec(version);
  if (wanted === null) throw new Error(`constraint ${constraint} is not of the form >=1.21-0`);
  if (found === null) throw new Error(`${version} is not a version`);
  const [major, minor] = [Number(found[1]) - Number(wanted[1]), Number(found[2]) - Number(wanted[2])];
  return major > 0 || (major === 0 && minor >= 0);
}

const functions: ReadonlyMap<string, TemplateFunction> = new Map<string, TemplateFunction>([
  ...Object.entries(builtinFunctions),
  ...Object.entries(stringFunctions),
  ...Object.entries(collectionFunctions),
  ...Object.entries(encodingFunctions),
  ['semverCompare', (args) => semverCompare(text(args, 0), text(args, 1))],
]);

/** `.Files`: those beside the templates. */
class Files extends GoRecord {
  readonly #files: ReadonlyMap<string, string>;

  constructor(files: ReadonlyMap<string, string>) {
    super();
    this.#files = files;
  }

  get(name: string): Value {
    throw new Error(`Files has no field ${name}`);
  }

  override call(name: string, args: readonly Value[]): Value {
    if (name !== 'Get') throw new Error(`Files has no method ${name}`);
    // As in Helm: a file that is not there is empty.
    return this.#files.get(text(args, 0)) ?? '';
  }

  toJSON(): unknown {
    return {};
  }
}

function readFolder(folder: string): Map<string, string> {
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch {
    return new Map();
  }
  return new Map(names.map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

const read = new Map<string, Chart>();

/** One of our charts: `base`, `istiod`, `gateway`. */
export function loadChart(folderName: 'base' | 'istiod' | 'gateway'): Chart {
  const present = read.get(folderName);
  if (present !== undefined) return present;
  const folder = join(charts, folderName);
  const { name, version, appVersion } = fromYaml(readFileSync(join(folder, 'Chart.yaml'), 'utf8')) as Record<
    string,
    string
  >;
  const chart: Chart = {
    name: name ?? '',
    version: version ?? '',
    appVersion: appVersion ?? '',
    values: fromYaml(readFileSync(join(folder, 'values.yaml'), 'utf8')) as JsonObject,
    templates: [...readFolder(join(folder, 'templates'))].map(([file, source]) =>
      parseTemplate(
        source,
        `${folderName}/${file}`,
        (called) => functions.has(called) || called === 'and' || called === 'or',
      ),
    ),
    files: new Map([...readFolder(join(folder, 'files'))].map(([file, body]) => [`files/${file}`, body])),
  };
  read.set(folderName, chart);
  return chart;
}

/**
 * All objects of a chart, in the order of its templates.
 * @throws Error when a template fails; names template and line
 */
export function renderChart(chart: Chart, own: JsonObject, release: Release): Manifest[] {
  const [major = '', minor = ''] = release.kubeVersion.replace(/^v/, '').split('.');
  const data: ValueMap = {
    Values: overlayValues(chart.values, own) as ValueMap,
    Release: { Name: release.name, Namespace: release.namespace, Service: release.service },
    Chart: { Name: chart.name, Version: chart.version, AppVersion: chart.appVersion },
    Capabilities: { KubeVersion: { Version: release.kubeVersion, Major: major, Minor: minor } },
    Files: new Files(chart.files),
  };
  const definitions = new Map(chart.templates.flatMap((template) => [...template.definitions]));
  return chart.templates
    .filter(({ name }) => name.endsWith('.yaml'))
    .flatMap((template) => {
      const output = evaluate({ ...template, definitions }, functions, data);
      return parseAllDocuments(output, yamlOptions()).flatMap((document) => {
        const [error] = document.errors;
        if (error !== undefined) throw new Error(`${template.name}: ${error.message}`);
        const value: unknown = document.toJS({ maxAliasCount: 0 });
        return value === null ? [] : [value as Manifest];
      });
    });
}
