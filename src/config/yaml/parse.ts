/** Text of a file to objects: every document is read, checked and placed; what is wrong is named. */
import { readDocuments, type YamlDocument } from './documents.ts';
import { validateResource } from '../kinds/kinds.ts';
import type { Resource, SourcePosition } from '../resource.ts';
import { type Issue, type PathSegment, parsePath } from '../schema/issue.ts';
import { isObject } from '../schema/schema.ts';
import { type ConfigError, type ResourceId, idOf, toConfigError } from './config_error.ts';
import { readEnvelope } from './envelope.ts';
import { type PositionLookup, type SourceText, createPositionLookup, positionAt } from './position.ts';

/** Longest text of one file, in characters. */
export const maxTextLength = 16 * 1024 * 1024;
/** How often aliases may be expanded in one document; more is taken for an attack. */
const maxAliasCount = 1000;
/** Most errors and warnings that are kept of one file. */
const maxProblems = 1000;

/** Options of reading a text. */
export interface ParseOptions {
  /** For namespaced objects that name none. Default `default`. */
  readonly defaultNamespace?: string;
  /**
   * Documents without apiVersion and kind are a warning in place of an error: for files that were found in a folder,
   * not named. Default false.
   */
  readonly allowForeign?: boolean;
}

/** What a text holds. */
export interface ParsedResources {
  /** The good objects, in the order of the text. Objects of unknown kinds are left out. */
  readonly resources: readonly Resource[];
  /** In the order of the text. */
  readonly errors: readonly ConfigError[];
  /** In the order of the text. */
  readonly warnings: readonly ConfigError[];
  /** Objects that the text names but that are not good. */
  readonly rejected: readonly ResourceId[];
  /** False when a part could not be read at all, so that `rejected` may lack objects. */
  readonly complete: boolean;
  /** Position of a field of one of `resources`; of the nearest key above when it is absent. */
  positionOf(resource: Resource, path: string): SourcePosition | undefined;
}

/** Reads objects from YAML with any number of documents, or from JSON. Never throws. */
export function parseResources(text: string, file: string, options: ParseOptions = {}): ParsedResources {
  return new Reader(file, options).read(text);
}

class Reader {
  readonly #file: string;
  readonly #defaultNamespace: string;
  readonly #allowForeign: boolean;
  readonly #resources: Resource[] = [];
  readonly #errors: ConfigError[] = [];
  readonly #warnings: ConfigError[] = [];
  readonly #rejected: ResourceId[] = [];
  readonly #positions = new Map<Resource, PositionLookup>();
  readonly #seen = new Map<string, SourcePosition>();
  #complete = true;

  constructor(file: string, options: ParseOptions) {
    this.#file = file;
    this.#defaultNamespace = options.defaultNamespace ?? 'default';
    this.#allowForeign = options.allowForeign ?? false;
  }

  read(text: string): ParsedResources {
    if (text.length > maxTextLength) {
      this.#complete = false;
      this.#problem(
        {
          severity: 'error',
          code: 'limit',
          message: `expected at most ${maxTextLength} characters, found ${text.length}`,
          path: [],
        },
        { file: this.#file, line: 1, column: 1 },
      );
    } else {
      this.#readText(text);
    }
    return {
      resources: this.#resources,
      errors: this.#errors,
      warnings: this.#warnings,
      rejected: this.#rejected,
      complete: this.#complete,
      positionOf: (resource, path) => {
        const steps = parsePath(path);
        return steps === undefined ? undefined : this.#positions.get(resource)?.(steps);
      },
    };
  }

  #readText(text: string): void {
    const { documents, lines } = readDocuments(text);
    const source: SourceText = { file: this.#file, text, lines };
    for (const document of documents) this.#readDocument(document, source);
  }

  #readDocument(document: YamlDocument, source: SourceText): void {
    const fail = (code: 'syntax' | 'duplicate_key' | 'limit', message: string, offset: number): void => {
      this.#complete = false;
      this.#problem(
        { severity: 'error', code, message, path: [] },
        positionAt(source, offset),
        guessId(document, this.#defaultNamespace),
      );
    };
    if (document.error !== undefined) {
      const { code, message, offset } = document.error;
      return fail(code, message, offset);
    }
    let value: unknown;
    try {
      value = document.document.toJS({ maxAliasCount });
    } catch (cause) {
      return fail('limit', cause instanceof Error ? cause.message : String(cause), document.offset);
    }
    this.#readValue(value, document, source, []);
  }

  /** One object, or a list of objects (`kind: List`, `ServiceList`), at a path of the document. */
  #readValue(value: unknown, document: YamlDocument, source: SourceText, base: readonly PathSegment[]): void {
    if (value === null || value === undefined) return;
    if (
      isObject(value) &&
      typeof value['kind'] === 'string' &&
      value['kind'].endsWith('List') &&
      Array.isArray(value['items'])
    ) {
      for (const [index, item] of value['items'].entries()) {
        this.#readValue(item, document, source, [...base, 'items', index]);
      }
      return;
    }
    const position = createPositionLookup(source, document, base);
    const result = readEnvelope(value, {
      source: position([]),
      defaultNamespace: this.#defaultNamespace,
      allowForeign: this.#allowForeign,
    });
    if (result.type === 'ignored') return this.#report([result.warning], position);
    if (result.type === 'invalid') {
      const id = guessFrom(value, this.#defaultNamespace, result.kind?.namespaced !== false);
      if (id === undefined) this.#complete = false;
      else this.#rejected.push(id);
      return this.#report(result.issues, position, id);
    }
    this.#accept(result.resource, [...result.issues, ...validateResource(result.resource)], position);
  }

  #accept(resource: Resource, issues: readonly Issue[], position: PositionLookup): void {
    const id = idOf(resource);
    this.#report(issues, position, id);
    const key = `${id.apiVersion}/${id.kind}/${id.namespace}/${id.name}`;
    const earlier = this.#seen.get(key);
    if (earlier !== undefined) {
      const message = `the same object stands already at ${earlier.file}:${earlier.line}:${earlier.column}: the first one stays`;
      return this.#report([{ severity: 'error', code: 'duplicate_object', message, path: [] }], position, id);
    }
    this.#seen.set(key, position([]));
    if (issues.some(({ severity }) => severity === 'error')) {
      this.#rejected.push(id);
    } else {
      this.#resources.push(resource);
      this.#positions.set(resource, position);
    }
  }

  #report(issues: readonly Issue[], position: PositionLookup, id?: ResourceId): void {
    for (const issue of issues) {
      // An unknown field is its key; everything else is about the value.
      this.#problem(issue, position(issue.path, issue.code === 'unknown_field'), id);
    }
  }

  #problem(issue: Issue, position: SourcePosition, id?: ResourceId): void {
    const problems = issue.severity === 'error' ? this.#errors : this.#warnings;
    if (problems.length < maxProblems) problems.push(toConfigError(issue, position, id));
  }
}

/** The object that a broken document is about, as far as it can be known: only for messages. */
function guessId({ document }: YamlDocument, defaultNamespace: string): ResourceId | undefined {
  try {
    return guessFrom(document.toJS({ maxAliasCount: 0 }), defaultNamespace, true);
  } catch {
    return undefined;
  }
}

function guessFrom(value: unknown, defaultNamespace: string, namespaced: boolean): ResourceId | undefined {
  if (!isObject(value) || !isObject(value['metadata'])) return undefined;
  const { apiVersion, kind, metadata } = value;
  const { name, namespace } = metadata;
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || typeof name !== 'string')
    return undefined;
  const own = typeof namespace === 'string' && namespace !== '' ? namespace : defaultNamespace;
  return { apiVersion, kind, namespace: namespaced ? own : '', name };
}
