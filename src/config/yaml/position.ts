/** From the path of a field to its line and column. */
import { LineCounter, type Node, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { SourcePosition } from '../resource.ts';
import type { PathSegment } from '../schema/issue.ts';
import type { YamlDocument } from './documents.ts';
import { yamlOptions } from './options.ts';

/** Finds positions in one document. */
export interface PositionLookup {
  /**
   * Position of the value at a path. When it is absent, the position of the deepest key or item above that is there.
   * With `key` the position of the key itself, where the last step is a key.
   */
  (path: readonly PathSegment[], key?: boolean): SourcePosition;
}

/** A file's text and where its lines start. */
export interface SourceText {
  readonly file: string;
  readonly text: string;
  readonly lines: LineCounter;
}

/** Offsets of a value and of the key that leads to it. Of an absent value: what stands nearest, twice. */
interface Found {
  readonly value: number;
  readonly key: number;
}

/** Line and column of an offset. */
export function positionAt({ file, lines }: SourceText, offset: number): SourcePosition {
  const { line, col } = lines.linePos(offset);
  return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** Makes a lookup for a document of a file; `base` is put in front of every path. */
export function createPositionLookup(
  source: SourceText,
  { document, offset }: YamlDocument,
  base: readonly PathSegment[] = [],
): PositionLookup {
  const resolve = (node: Node): Node | undefined => (isAlias(node) ? node.resolve(document) : node);
  return (path, key = false) => {
    const found = descend(document.contents, [...base, ...path], resolve, source.text.slice(offset));
    return positionAt(source, offset + (key ? found.key : found.value));
  };
}

function startOf(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  return Array.isArray(node.range) ? (node.range as [number])[0] : undefined;
}

function descend(
  root: Node | null,
  path: readonly PathSegment[],
  resolve: (node: Node) => Node | undefined,
  text: string,
): Found {
  let node: Node | null | undefined = root;
  let key = startOf(root) ?? 0;
  let value = key;
  for (const [depth, segment] of path.entries()) {
    if (node !== null && node !== undefined) node = resolve(node);
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isScalar(item.key) && String(item.key.value) === String(segment),
      );
      if (pair === undefined) return { value: key, key };
      key = startOf(pair.key) ?? key;
      node = pair.value as Node | null;
      const isEmpty = isScalar(node) && node.source === '' && node.type === 'PLAIN';
      value = isEmpty ? key : (startOf(node) ?? key);
    } else if (isSeq(node)) {
      const item: unknown = typeof segment === 'number' ? node.items[segment] : undefined;
      const start = startOf(item);
      if (start === undefined) return { value: key, key };
      key = value = start;
      node = item as Node;
    } else if (isScalar(node) && node.type === 'BLOCK_LITERAL' && typeof node.value === 'string') {
      return descendText(node.value, value, path.slice(depth), text) ?? { value: key, key };
    } else {
      return { value: key, key };
    }
  }
  return { value, key };
}

/** YAML within a literal block (`mesh: |`): its lines are those of the file, less the indentation. */
function descendText(
  inner: string,
  header: number,
  path: readonly PathSegment[],
  text: string,
): Found | undefined {
  const body = text.indexOf('\n', header) + 1;
  const indent = /^(?:[ \t]*\r?\n)*( *)/.exec(text.slice(body))?.[1]?.length ?? 0;
  const lines = new LineCounter();
  const document = parseDocument(inner, { ...yamlOptions(), lineCounter: lines });
  if (document.errors.length > 0) return undefined;
  const starts = new LineCounter();
  starts.addNewLine(body);
  for (let at = text.indexOf('\n', body); at !== -1; at = text.indexOf('\n', at + 1))
    starts.addNewLine(at + 1);
  const outer = (offset: number): number => {
    const { line, col } = lines.linePos(offset);
    return (starts.lineStarts[line - 1] ?? body) + indent + col - 1;
  };
  const found = descend(
    document.contents,
    path,
    (node) => (isAlias(node) ? node.resolve(document) : node),
    inner,
  );
  return { value: outer(found.value), key: outer(found.key) };
}
