import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type JsonValue, fromJson, toBinary } from '@bufbuild/protobuf';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { RequestHeaderMap } from '../http/header_map.ts';
import type { RouteEntry } from '../router/route_entry.ts';
import type { RouteTable } from '../router/route_config.ts';
import { splitVirtualHosts } from '../router/route_config_bytes.ts';
import { RouteDecoder } from './route_decoder.ts';

function bytesOf(json: JsonValue): Uint8Array {
  return toBinary(RouteConfigurationSchema, fromJson(RouteConfigurationSchema, json));
}

function host(name: string, cluster: string): JsonValue {
  return { name, domains: [`${name}.test`], routes: [{ match: { prefix: '/' }, route: { cluster } }] };
}

function routeOf(table: RouteTable, authority: string): RouteEntry | undefined {
  const headers = new RequestHeaderMap();
  headers.method = 'GET';
  headers.path = '/';
  headers.scheme = 'http';
  headers.authority = authority;
  return table.match(headers, {});
}

describe('route configurations from bytes', () => {
  it('keeps what did not change', async () => {
    const decoder = new RouteDecoder({});
    const first = await decoder.decode(
      bytesOf({ name: 'r', virtualHosts: [host('a', 'a'), host('b', 'b')] }),
      undefined,
    );
    const second = await decoder.decode(
      bytesOf({ name: 'r', virtualHosts: [host('b', 'b2'), host('a', 'a'), host('c', 'c')] }),
      first,
    );
    assert.equal(routeOf(second, 'a.test'), routeOf(first, 'a.test'), 'the same object');
    assert.equal(routeOf(first, 'b.test')?.clusterName, 'b', 'the old table is as it was');
    assert.equal(routeOf(second, 'b.test')?.clusterName, 'b2');
    assert.equal(routeOf(second, 'c.test')?.clusterName, 'c');
    assert.deepEqual([...second.clusters].sort(), ['a', 'b2', 'c']);
    const third = await decoder.decode(bytesOf({ name: 'r', virtualHosts: [host('c', 'c')] }), second);
    assert.equal(routeOf(third, 'a.test'), undefined);
    assert.deepEqual([...third.clusters], ['c']);
  });

  it('builds all anew when a field of the whole changed', async () => {
    const decoder = new RouteDecoder({});
    const json = { name: 'r', virtualHosts: [host('a', 'a')] };
    const first = await decoder.decode(bytesOf(json), undefined);
    const second = await decoder.decode(
      bytesOf({ ...json, requestHeadersToAdd: [{ header: { key: 'x-new', value: '1' } }] }),
      first,
    );
    assert.equal(routeOf(first, 'a.test')?.hasRequestRules, false);
    assert.equal(routeOf(second, 'a.test')?.hasRequestRules, true);
  });

  it('names the field of a bad one', async () => {
    const decoder = new RouteDecoder({});
    const bad = { name: 'bad', domains: ['bad.test'], routes: [{ route: { cluster: 'x' } }] };
    await assert.rejects(
      decoder.decode(bytesOf({ name: 'r', virtualHosts: [host('a', 'a'), bad] }), undefined),
      /virtual_hosts\[1\] 'bad': routes\[0\] '': match is missing/,
    );
    const twice = { ...(host('a', 'a') as object), name: 'other' } as JsonValue;
    await assert.rejects(
      decoder.decode(bytesOf({ name: 'r', virtualHosts: [host('a', 'a'), twice] }), undefined),
      /a\.test stands twice/,
    );
    await assert.rejects(decoder.decode(Uint8Array.of(0x12, 0x7f, 1), undefined));
  });

  it('lets others run while it builds a large one', async () => {
    const decoder = new RouteDecoder({});
    const large = bytesOf({
      name: 'r',
      virtualHosts: Array.from({ length: 2000 }, (_, i) => host(`h${i}`, `c${i}`)),
    });
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const table = await decoder.decode(large, undefined);
    clearInterval(timer);
    assert.ok(turns > 0, 'other work had its turn');
    assert.equal(routeOf(table, 'h1999.test')?.clusterName, 'c1999');
  });

  it('splits at virtual hosts and keeps the rest', () => {
    const json = { name: 'r', internalOnlyHeaders: ['x'], virtualHosts: [host('a', 'a'), host('b', 'b')] };
    const { rest, virtualHosts } = splitVirtualHosts(bytesOf(json));
    assert.equal(virtualHosts.length, 2);
    assert.deepEqual(Buffer.from(rest), Buffer.from(bytesOf({ name: 'r', internalOnlyHeaders: ['x'] })));
  });
});
