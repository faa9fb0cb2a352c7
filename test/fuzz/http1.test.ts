/**
 * Both sides of HTTP/1 with mutated messages. Whatever comes: no exception, and it does not matter where input is split.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordingClient, RecordingDecoder, RecordingServer, settle } from '#proxy/http/http1/testing.ts';
import { RequestHeaderMap } from '#proxy/http/header_map.ts';
import { mutate, pick, randomFrom } from './mutate.ts';

const rounds = 1500;

const requests: readonly string[] = [
  'GET /a?x=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: t\r\n\r\n',
  'POST /b HTTP/1.1\r\nhost: b\r\nContent-Length: 5\r\n\r\nhello',
  'POST /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0A;x="y"\r\n0123456789\r\n0\r\nTrail: er\r\n\r\n',
  'HEAD /d HTTP/1.0\r\nHost: d\r\nConnection: keep-alive\r\n\r\n',
  'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n',
  'GET /e HTTP/1.1\r\nHost: e\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
];
const responses: readonly string[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nuntil the end',
  'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
];

type Play = (chunks: readonly Buffer[]) => Promise<string>;

const serve: Play = async (chunks) => {
  const server = new RecordingServer();
  for (const chunk of chunks) {
    server.wire.far.write(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await settle();
  server.connection.close();
  // Which of two faults is named depends on what has come when one is seen.
  return JSON.stringify(server.lines).replaceAll(/error 400 [\w.]+/g, 'error 400');
};

const ask: Play = async (chunks) => {
  const client = new RecordingClient();
  const headers = new RequestHeaderMap();
  Object.assign(headers, { method: 'GET', path: '/', authority: 'a', scheme: 'http' });
  client.connection.newStream(new RecordingDecoder(client)).encodeHeaders(headers, true);
  for (const chunk of chunks) {
    client.wire.far.write(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await settle();
  client.connection.close();
  return JSON.stringify(client.lines);
};

const tests: readonly (readonly [name: string, corpus: readonly string[], play: Play])[] = [
  ['server', requests, serve],
  ['client', responses, ask],
];
for (const [name, corpus, play] of tests) {
  test(`every message, split at every byte: ${name}`, async () => {
    for (const text of corpus) {
      const bytes = Buffer.from(text, 'latin1');
      const whole = await play([bytes]);
      for (let at = 1; at < bytes.length; at++)
        assert.equal(await play([bytes.subarray(0, at), bytes.subarray(at)]), whole, `${text} at ${at}`);
    }
  });

  test(`${rounds} changed messages: ${name}`, async () => {
    const random = randomFrom(9112);
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const bytes = mutate(random, Buffer.from(pick(random, corpus) + pick(random, corpus), 'latin1'));
      const whole = await play([bytes]);
      const [one = 0, two = 0] = [random(), random()]
        .map((part) => Math.floor(part * bytes.length))
        .toSorted((a, b) => a - b);
      const parts = [bytes.subarray(0, one), bytes.subarray(one, two), bytes.subarray(two)].filter(
        ({ length }) => length > 0,
      );
      assert.equal(await play(parts), whole, JSON.stringify(bytes.toString('latin1')));
      if (/error 4|close .*protocol/.test(whole)) refused++;
    }
    assert.ok(refused > rounds / 50 && refused < rounds, `${refused} refused`);
  });
}
