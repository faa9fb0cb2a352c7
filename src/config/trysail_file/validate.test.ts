import assert from 'node:assert/strict';
import { it } from 'node:test';
import { formatConfigError } from '../yaml/config_error.ts';
import { readTrysailFile } from './validate.ts';

it('reads apps and resources', () => {
  const result = readTrysailFile(
    'resources: ["*.yaml"]\napps:\n- image: "x/reviews:*"\n  command: [node, reviews.ts, "${PORT}"]\n  env: {SERVICE_VERSION: v1}\n',
    'trysail.yaml',
  );
  assert.deepEqual(result, {
    ok: true,
    file: {
      resources: ['*.yaml'],
      apps: [
        { image: 'x/reviews:*', command: ['node', 'reviews.ts', '${PORT}'], env: { SERVICE_VERSION: 'v1' } },
      ],
    },
  });
  assert.deepEqual(readTrysailFile('# nothing\n', 'trysail.yaml'), { ok: true, file: {} });
});

const broken: readonly (readonly [text: string, ...messages: string[]])[] = [
  [
    'apps:\n- image: x\n  comand: [a]\n',
    't:3:3: apps[0].comand: unknown field, did you mean "command"?',
    't:2:3: apps[0].command: required: expected a list, found nothing',
  ],
  [
    'apps:\n- image: x\n  command: [a, "${PROT}"]\n',
    't:3:16: apps[0].command[1]: expected ${HOST} or ${PORT}, found "${PROT}"',
  ],
  ['apps: x\n', 't:1:7: apps: expected a list, found "x"'],
  [
    'resources: [../x]\n',
    't:1:13: resources[0]: expected a path below the folder of this file, found "../x"',
  ],
  ['[]\n', 't:1:1: expected an object, found an empty list'],
  ['a: 1\n---\nb: 2\n', 't:2:1: expected one document'],
  ['apps: [\n', 't:1:8: Flow sequence in block collection must be sufficiently indented and end with a ]'],
];
for (const [text, ...messages] of broken) {
  it(`refuses ${JSON.stringify(text)}`, () => {
    const result = readTrysailFile(text, 't');
    assert.deepEqual(result.ok ? [] : result.errors.map(formatConfigError), messages);
  });
}
