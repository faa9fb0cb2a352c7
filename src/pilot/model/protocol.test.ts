import assert from 'node:assert/strict';
import { test } from 'node:test';
import { protocolOfServicePort } from './protocol.ts';

test('appProtocol decides, then the name, then nothing but server-first ports', () => {
  const cases: readonly [Parameters<typeof protocolOfServicePort>[0], string][] = [
    [{ port: 80, name: 'http' }, 'HTTP'],
    [{ port: 80, name: 'http-web' }, 'HTTP'],
    [{ port: 80, name: 'grpc-web' }, 'GRPCWeb'],
    [{ port: 80, name: 'grpc-web-x' }, 'GRPCWeb'],
    [{ port: 80, name: 'grpc-api' }, 'GRPC'],
    [{ port: 80, name: 'HTTP2-x' }, 'HTTP2'],
    [{ port: 80, name: 'tcp', appProtocol: 'http' }, 'HTTP'],
    [{ port: 80, name: 'http', appProtocol: 'kubernetes.io/h2c' }, 'HTTP2'],
    [{ port: 80, name: 'httpx' }, 'Auto'],
    [{ port: 80 }, 'Auto'],
    [{ port: 3306 }, 'TCP'],
    [{ port: 3306, name: 'http' }, 'HTTP'],
    [{ port: 53, name: 'dns', protocol: 'UDP' }, 'UDP'],
  ];
  for (const [port, protocol] of cases)
    assert.equal(protocolOfServicePort(port), protocol, JSON.stringify(port));
});
