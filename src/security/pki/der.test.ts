import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import * as der from './der.ts';

test('known encodings', () => {
  assert.equal(der.objectIdentifier('1.2.840.10045.4.3.2').toString('hex'), '06082a8648ce3d040302');
  assert.equal(der.objectIdentifier('2.5.29.17').toString('hex'), '0603551d11');
  assert.equal(der.unsignedInteger(Buffer.from([0x80])).toString('hex'), '02020080');
  assert.equal(der.unsignedInteger(Buffer.from([0, 0, 5])).toString('hex'), '020105');
  assert.equal(der.unsignedInteger(Buffer.alloc(0)).toString('hex'), '020100');
  assert.equal(
    der
      .time(Date.UTC(2049, 11, 31, 23, 59, 59))
      .toString('latin1')
      .slice(2),
    '491231235959Z',
  );
  assert.equal(
    der
      .time(Date.UTC(2050, 0, 1))
      .toString('latin1')
      .slice(2),
    '20500101000000Z',
  );
  assert.equal(der.octetString(Buffer.alloc(300)).subarray(0, 4).toString('hex'), '0482012c');
});

test('object identifiers go there and back', () => {
  for (const dotted of ['1.2.840.113549.1.9.14', '2.5.29.35', '0.9.2342.19200300.100.1.25']) {
    const reader = new der.DerReader(der.objectIdentifier(dotted));
    assert.equal(der.readObjectIdentifier(reader.read(der.tag.oid).content), dotted);
  }
});

for (const [name, hex] of [
  ['empty', ''],
  ['tag only', '30'],
  ['indefinite length', '3080'],
  ['length of five bytes', '30850100000000'],
  ['length not minimal, one byte', '308101ff'],
  ['length not minimal, two bytes', '30820001ff'],
  ['past the end', '300501'],
  ['high tag number', '1f8101'],
] as const) {
  test(`refused: ${name}`, () => {
    assert.throws(() => new der.DerReader(Buffer.from(hex, 'hex')).read(), der.DerError);
  });
}

test('any bytes give elements that are their own encoding, or a DerError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      try {
        const { tag, content, raw } = new der.DerReader(bytes).read();
        assert.deepEqual(der.encode(tag, content), raw);
      } catch (error) {
        assert.ok(error instanceof der.DerError);
      }
    }),
    { numRuns: 2000 },
  );
});
