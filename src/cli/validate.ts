/** `trysail validate`: Istio's check of files before they are applied, with Istio's form of output. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { Command } from 'commander';
import { findFiles } from '#config/store/file_set.ts';
import { readTrysailFile, trysailFileName } from '#config/trysail_file/validate.ts';
import type { ConfigError } from '#config/yaml/config_error.ts';
import { parseResources } from '#config/yaml/parse.ts';
import { type Env, UsageError } from './main.ts';

interface Flags {
  readonly filename: readonly string[];
}

/** What a file gave. */
interface Outcome {
  readonly file: string;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

/** `VirtualService/default/reviews: x.yaml:3:7: spec.hosts: ...`; the namespace is empty when the file names none. */
function format({ resource, file, line, column, path, message }: ConfigError): string {
  const object = resource === undefined ? '' : `${resource.kind}/${resource.namespace}/${resource.name}: `;
  return `${object}${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}

function check(file: string, text: string, named = true): Outcome {
  if (basename(file) === trysailFileName) {
    const result = readTrysailFile(text, file);
    return { file, errors: result.ok ? [] : result.errors.map(format), warnings: [] };
  }
  // No default namespace, so that names are printed as the file has them.
  const { errors, warnings } = parseResources(text, file, { defaultNamespace: '', allowForeign: !named });
  return { file, errors: errors.map(format), warnings: warnings.map(format) };
}

async function checkAll(paths: readonly string[], stdin: AsyncIterable<Buffer>): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const path of paths) {
    if (path === '-') {
      outcomes.push(check('-', await readAll(stdin)));
      continue;
    }
    const { files, missing } = await findFiles([path], () => false);
    for (const { reason } of missing)
      outcomes.push({ file: path, errors: [`${path}: ${reason}`], warnings: [] });
    for (const { path: file, named } of files) {
      try {
        outcomes.push(check(file, await readFile(file, 'utf8'), named));
      } catch (error) {
        outcomes.push({
          file,
          errors: [error instanceof Error ? error.message : String(error)],
          warnings: [],
        });
      }
    }
  }
  return outcomes;
}

const bullets = (lines: readonly string[]): string => lines.map((line) => `\t* ${line}\n`).join('');

/** What is printed: warnings and valid files on standard output, errors on standard error. */
function report(outcomes: readonly Outcome[]): { stdout: string; stderr: string } {
  const errors = outcomes.flatMap((outcome) => outcome.errors);
  let stdout = '';
  for (const { file, warnings } of outcomes) {
    const name = file === '-' ? 'stdin' : JSON.stringify(file);
    if (warnings.length > 0) stdout += `${name} has warnings: \n${bullets(warnings)}\n`;
    else if (errors.length === 0) stdout += `${name} is valid\n`;
  }
  const count = errors.length === 1 ? '1 error' : `${errors.length} errors`;
  return { stdout, stderr: errors.length === 0 ? '' : `Error: ${count} occurred:\n${bullets(errors)}\n` };
}

/** Exit code 0 when all objects are valid, with or without warnings; 1 when one is not; 2 on wrong use. */
export function validateCommand(_env: Env): Command {
  return new Command('validate')
    .alias('v')
    .description('check Istio and Kubernetes YAML without applying it')
    .argument('[file...]', 'files and folders, - for standard input')
    .option(
      '-f, --filename <file...>',
      'files and folders, - for standard input',
      (value: string, all: readonly string[]) => [...all, value],
      [] as readonly string[],
    )
    .option('-x, --referential', 'accepted for Istio: references between objects are not checked here', true)
    .action(async (files: readonly string[], { filename }: Flags) => {
      const paths = [...filename, ...files];
      if (paths.length === 0)
        throw new UsageError('you must specify resources by --filename, such as -f rsrc.yaml');
      const { stdout, stderr } = report(await checkAll(paths, process.stdin));
      process.stdout.write(stdout);
      process.stderr.write(stderr);
      if (stderr !== '') process.exitCode = 1;
    });
}
