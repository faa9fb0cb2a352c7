import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { clientContext } from './client_contexts.ts';
import { TestAuthority } from './testing.ts';

const authority = new TestAuthority('contexts');
after(() => authority.close());

test('equal options share a context, any difference makes another one', () => {
  const { cert, key } = authority.issue('DNS:a.example.com');
  const other = authority.issue('DNS:a.example.com');
  const options = { cert: [Buffer.from(cert)], key: [Buffer.from(key)], ca: Buffer.from(authority.cert) };
  const first = clientContext({ ...options, minVersion: 'TLSv1.2' });
  const again = {
    minVersion: 'TLSv1.2',
    ca: Buffer.from(authority.cert),
    cert: [Buffer.from(cert)],
  } as const;
  assert.equal(clientContext({ ...again, cert: [...again.cert], key: [Buffer.from(key)] }), first);
  for (const different of [
    { ...options, minVersion: 'TLSv1.3' as const },
    { ...options, minVersion: 'TLSv1.2' as const, ca: [] },
    { ...options, minVersion: 'TLSv1.2' as const, ca: undefined },
    {
      ...options,
      minVersion: 'TLSv1.2' as const,
      cert: [Buffer.from(other.cert)],
      key: [Buffer.from(other.key)],
    },
  ])
    assert.notEqual(clientContext(different), first);
});

test('options that OpenSSL refuses leave nothing behind', () => {
  for (let i = 0; i < 2; i++)
    assert.throws(() => clientContext({ ca: Buffer.from('no PEM'), cert: ['x'], key: ['y'] }));
});
