/** Manifests as text: documents in their order, and YAML in the manner of Kubernetes' tools. */
import { Document, Scalar, parseDocument, visit } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';
import { readDocuments } from '#config/yaml/documents.ts';
import { type Json, type JsonObject, isObject } from '../pod/shape.ts';

/** A document of a manifest: its text, and the object it holds. */
export interface ManifestDocument {
  /** As it stood, without its separator; ends with a line break. */
  readonly text: string;
  readonly value: JsonObject;
}

/** Longest manifest, in characters. */
const maxLength = 64 * 1024 * 1024;
const separator = /^---(?=[ \t\r\n]|$)/gm;

/**
 * Reads a manifest; documents without content are left out.
 * @throws Error with file, line and reason
 */
export function readManifest(text: string, file: string): ManifestDocument[] {
  if (text.length > maxLength) throw new Error(`${file}: expected at most ${maxLength} characters`);
  const result: ManifestDocument[] = [];
  let start = 0;
  let line = 1;
  const part = (end: number): void => {
    const chunk = text.slice(start, end);
    const { documents, lines } = readDocuments(chunk);
    for (const { document, error } of documents) {
      if (error !== undefined)
        throw new Error(`${file}:${line + lines.linePos(error.offset).line - 1}: ${error.message}`);
      const value: unknown = document.toJS({ maxAliasCount: 100 });
      if (!isObject(value)) throw new Error(`${file}:${line}: expected an object of Kubernetes`);
      const own = documents.length === 1 ? chunk : document.toString();
      result.push({ text: `${own.replace(/^[ \t]*\r?\n/, '').trimEnd()}\n`, value });
    }
  };
  for (const match of text.matchAll(separator)) {
    part(match.index);
    line += text.slice(start, match.index).split('\n').length - 1;
    start = match.index + match[0].length;
  }
  part(text.length);
  return result;
}

/** Plain text that is read back as something else must stand in quotes; Go's YAML takes double ones for it. */
function readsAsOther(text: string): boolean {
  if (text === '') return true;
  if (!/^[-+.\d~]|^(?:y|n|yes|no|on|off|true|false|null)$/i.test(text)) return false;
  const value: unknown = parseDocument(text, yamlOptions()).toJS();
  return typeof value !== 'string' && typeof value !== 'object';
}

/** One object as YAML; keys in the order they have. */
export function toYaml(value: Json): string {
  const document = new Document(value, { version: '1.1', aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === 'string' && readsAsOther(node.value)) node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return document.toString({ lineWidth: 0, indentSeq: false, singleQuote: true, blockQuote: 'literal' });
}
