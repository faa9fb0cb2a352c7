/**
 * Whole documents: DNS messages, YAML of objects with positions, Go templates, resources of xDS. Changed ones are read or
 * refused by name; none costs an exception that is a fault of ours, or more time than its size is worth.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse as parseYaml } from 'yaml';
import { parseQuery, rcode, writeAnswer } from '#agent/dns/message.ts';
import { readBootstrap } from '#cli/bootstrap_text.ts';
import { parseResources } from '#config/yaml/parse.ts';
import { TemplateError } from '#inject/go_template/template_error.ts';
import { parse, run } from '#inject/templates/render.ts';
import { validateBootstrap } from '#proxy/server/validate.ts';
import { packageRoot } from '../harness/mesh_process.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

/** A query for a name, with EDNS. */
function query(name: string, type: number): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)]));
  const opt = Buffer.from('0000291000000000000000', 'hex');
  return Buffer.concat([
    Buffer.from('123401000001000000000001', 'hex'),
    ...labels,
    Buffer.of(0, 0, type, 0, 1),
    opt,
  ]);
}

test('DNS: changed queries are read, refused or ignored, and answers to them are well formed', () => {
  const random = randomFrom(1035);
  const corpus = [query('reviews.default.svc.cluster.local', 1), query('A.b', 28), query('x', 255)];
  const kinds = new Set<string>();
  for (let i = 0; i < 40_000; i++) {
    const message = mutate(random, pick(random, corpus));
    const found = parseQuery(message);
    kinds.add(found.kind);
    if (found.kind !== 'query') continue;
    const { name, question, udpBytes } = found.query;
    assert.ok(name.endsWith('.') && name.length <= 255 && name === name.toLowerCase());
    assert.ok(message.includes(question) && (udpBytes === undefined || udpBytes >= 512));
    const addresses = [Buffer.of(192, 0, 2, 1), Buffer.alloc(16, 1)];
    const answer = writeAnswer(found.query, rcode.noError, { addresses, ttlS: 30 } as never, 512);
    assert.ok(answer.length <= 512 && answer.readUInt16BE(0) === found.query.id && (answer[2]! & 0x80) !== 0);
  }
  assert.deepEqual([...kinds].toSorted(), ['ignore', 'query', 'refuse']);
});

const samples = join(packageRoot, 'samples', 'bookinfo');

test('YAML: changed objects give objects or errors with places', () => {
  const random = randomFrom(12);
  const texts = readdirSync(samples, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => readFileSync(join(samples, file)))
    .filter(({ length }) => length < 4000);
  assert.ok(texts.length > 2);
  let errors = 0;
  for (let i = 0; i < 500; i++) {
    const text = mutate(random, pick(random, texts)).toString();
    const found = parseResources(text, 'x.yaml', { allowForeign: true });
    const lines = text.split('\n').length;
    for (const { line, column, message } of [...found.errors, ...found.warnings])
      assert.ok(line >= 1 && line <= lines + 1 && column >= 1, `${line}:${column} ${message}`);
    for (const resource of found.resources)
      assert.ok(found.positionOf(resource, 'metadata.name') !== undefined);
    if (found.errors.length > 0) errors++;
  }
  assert.ok(errors > 10 && errors < 500, String(errors));
  // Aliases that would grow without bound.
  const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
  for (let i = 0; i < 12; i++)
    bomb.push(
      `${String.fromCharCode(98 + i)}: &${String.fromCharCode(98 + i)} [${`*${String.fromCharCode(97 + i)}, `.repeat(10)}]`,
    );
  const start = performance.now();
  assert.ok(parseResources(bomb.join('\n'), 'x.yaml').errors.length > 0);
  assert.ok(performance.now() - start < 5000);
});

test('Go templates: changed ones run or are refused with a place', () => {
  const random = randomFrom(99);
  const corpus = [
    '{{- if eq .a "x" }}{{ range $i, $e := .list }}{{ $i }}={{ $e | quote }}{{ else }}none{{ end }}{{ end -}}',
    '{{ with .map }}{{ .key | default "d" | upper | trunc 3 }}{{ end }}{{ define "t" }}{{ . }}{{ end }}{{ template "t" .a }}',
    '{{ $x := dict "a" 1 }}{{ index $x "a" | printf "%03d %s" 1 }}{{/* note */}}{{ toJson .list | indent 2 }}',
    'a: {{ .a }}\n{{- range .list }}\n- {{ . | b64enc }}{{ end }}',
  ];
  const data = { a: 'x', list: ['1', 'b'], map: { key: 'value' } };
  let ran = 0;
  for (let i = 0; i < 5000; i++) {
    const text = mutate(random, Buffer.from(pick(random, corpus))).toString('latin1');
    try {
      assert.equal(typeof run(parse(text, 't'), data), 'string');
      ran++;
    } catch (error) {
      assert.ok(error instanceof TemplateError, `${JSON.stringify(text)}: ${String(error)}`);
    }
  }
  assert.ok(ran > 200, String(ran));
});

/** Values that fields do not expect. */
const odd: readonly unknown[] = [
  null,
  '',
  0,
  -1,
  1e9,
  true,
  [],
  {},
  'x',
  '-1s',
  '0s',
  '%',
  '(',
  [null],
  { '@type': 'x' },
  'type.googleapis.com/google.protobuf.Any',
];

/** One to three values below are replaced, doubled or taken away. */
function change(random: () => number, root: unknown): unknown {
  const copy = structuredClone(root);
  for (let i = 1 + Math.floor(random() * 3); i > 0; i--) {
    let at = copy as Record<string, unknown>;
    for (;;) {
      const keys = Object.keys(at);
      if (keys.length === 0) break;
      const key = pick(random, keys);
      const value = at[key];
      if (typeof value === 'object' && value !== null && random() < 0.85) {
        at = value as Record<string, unknown>;
        continue;
      }
      const what = Math.floor(random() * 4);
      if (what === 0) delete at[key];
      else if (what === 1 && Array.isArray(at)) at.push(structuredClone(value));
      else at[key] = structuredClone(pick(random, odd));
      break;
    }
  }
  return copy;
}

test('resources of xDS: changed ones are built or refused by name', async () => {
  const random = randomFrom(13);
  const folder = join(packageRoot, 'test', 'conformance');
  const corpus = [
    'http1',
    'health_checks',
    'local_ratelimit',
    'lb_subset',
    'tcp_proxy',
    'circuit_breakers',
    'ratelimit',
    'header_to_metadata',
  ].map((name) => {
    const text = readFileSync(join(folder, `${name}.yaml`), 'utf8');
    return parseYaml(
      text
        .replaceAll(/\$\{port:[\w-]+\}/g, '1')
        .replaceAll(/\$\{dir\}/g, '/tmp')
        .replaceAll(/\$\{[\w-]+\}/g, '1'),
      { merge: true },
    ) as object;
  });
  const verdicts = { built: 0, refused: 0 };
  for (let i = 0; i < 400; i++) {
    const changed = JSON.stringify(change(random, pick(random, corpus)));
    try {
      const bootstrap = await readBootstrap({
        file: { path: 'x.json', text: changed },
        overlay: undefined,
        allowUnknownFields: random() < 0.5,
      } as never);
      await validateBootstrap(bootstrap);
      verdicts.built++;
    } catch (error) {
      verdicts.refused++;
      const fault =
        error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
      assert.ok(
        error instanceof Error && !fault && error.message.length > 8,
        `${changed}\n${error instanceof Error ? error.stack : String(error)}`,
      );
    }
  }
  assert.ok(verdicts.built > 50 && verdicts.refused > 50, JSON.stringify(verdicts));
});
