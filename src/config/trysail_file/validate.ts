/** Reads `trysail.yaml`: everything that is wrong is named with its place. */
import { isAbsolute } from 'node:path';
import { Checker } from '../schema/checker.ts';
import { type Rule, type Schema, list, map, object, string } from '../schema/schema.ts';
import { type ConfigError, toConfigError } from '../yaml/config_error.ts';
import { readDocuments } from '../yaml/documents.ts';
import { createPositionLookup, positionAt } from '../yaml/position.ts';
import type { TrysailApp, TrysailFile } from './types.ts';

/** Name of the file in a folder. */
export const trysailFileName = 'trysail.yaml';

/** Variables that commands and values may name. */
const variables = ['HOST', 'PORT'];

const knownVariables: Rule<string> = (text, at) => {
  for (const [, name = ''] of text.matchAll(/\$\{([^}]*)\}/g)) {
    if (!variables.includes(name)) at.mismatch('unknown_value', '${HOST} or ${PORT}', `\${${name}}`);
  }
};

const app = object<TrysailApp>(
  {
    image: string({ minLength: 1, expected: 'an image such as "example.com/reviews:*"' }),
    command: list(string({ rule: knownVariables }), { min: 1 }),
    env: map(string({ rule: knownVariables }), {
      key: (name, at) => {
        if (name === '' || /[=\0]/.test(name)) at.mismatch('invalid_name', 'the name of a variable', name);
      },
    }),
  },
  { required: ['image', 'command'] },
);

/** Content of `trysail.yaml`. */
export const trysailFile: Schema<TrysailFile> = object<TrysailFile>({
  apps: list(app, { max: 1000 }),
  resources: list(
    string({
      expected: 'a path below the folder of this file',
      code: 'invalid_path',
      test: (path) => path !== '' && !isAbsolute(path) && !path.split('/').includes('..'),
    }),
    { max: 1000 },
  ),
});

/** The file, or what is wrong with it. An empty text is an empty file. */
export type TrysailFileResult =
  | { readonly ok: true; readonly file: TrysailFile }
  | { readonly ok: false; readonly errors: readonly ConfigError[] };

/** Reads a `trysail.yaml`. Never throws. */
export function readTrysailFile(text: string, file: string): TrysailFileResult {
  const { documents, lines } = readDocuments(text);
  const source = { file, text, lines };
  const [document, second] = documents;
  if (document === undefined) return { ok: true, file: {} };
  const fail = (
    code: 'syntax' | 'duplicate_key' | 'limit',
    message: string,
    offset: number,
  ): TrysailFileResult => ({
    ok: false,
    errors: [toConfigError({ severity: 'error', code, message, path: [] }, positionAt(source, offset))],
  });
  if (document.error !== undefined) {
    return fail(document.error.code, document.error.message, document.error.offset);
  }
  if (second !== undefined) return fail('syntax', 'expected one document', second.offset);
  let value: unknown;
  try {
    value = document.document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    return fail('limit', cause instanceof Error ? cause.message : String(cause), document.offset);
  }
  const checker = new Checker({ name: trysailFileName, namespace: '' });
  trysailFile.check(value, checker);
  if (checker.errorCount === 0) return { ok: true, file: value as TrysailFile };
  const position = createPositionLookup(source, document);
  const errors = checker.issues.map((issue) =>
    toConfigError(issue, position(issue.path, issue.code === 'unknown_field')),
  );
  return { ok: false, errors };
}
