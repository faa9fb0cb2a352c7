/** Destinations that no rule knows: ALLOW_ANY, REGISTRY_ONLY, PassthroughCluster and BlackHoleCluster as Istio writes them. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { conformance, type Run } from '../harness/conformance.ts';
import { send } from '../harness/http_request.ts';

/** Sends raw bytes and gives what comes back until the end. */
function exchange(run: Run, port: string, input: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(run.port(port), '127.0.0.1').setEncoding('latin1');
    let text = '';
    socket.on('data', (chunk: string) => (text += chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
    socket.write(input);
  });
}

/** A request to a port of this machine, as captured packets would bring it. */
function captured(port: number, host = 'other.example'): string {
  return `PROXY TCP4 127.0.0.1 127.0.0.1 40000 ${port}\r\nGET /x HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;
}

conformance(import.meta.filename, {
  rows: ['5.12'],
  backends: ['app', 'two'],
  cases: {
    'HTTP to unknown hosts goes where the client wanted': async (run) => {
      const text = await exchange(run, 'in', captured(run.port('two')));
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*"backend":"two"[^]*"host":"other\.example"/);
      assert.match(await exchange(run, 'in', captured(run.port('two'), 'known.example')), /"backend":"app"/);
      assert.ok((await run.stat('cluster.PassthroughCluster.upstream_rq_total')) >= 1);
    },
    'nobody listens there': async (run) => {
      const text = await exchange(run, 'in', captured(9));
      assert.match(text, /^HTTP\/1\.1 503 [^]*upstream connect error or disconnect\/reset before headers\. /);
      assert.ok((await run.stat('cluster.PassthroughCluster.upstream_cx_connect_fail')) >= 1);
    },
    'a connection without an original destination': async (run) => {
      const answer = await send(run.port('by_header'), '/');
      assert.deepEqual([answer.status, answer.body], [503, 'no healthy upstream']);
    },
    'the destination by header': async (run) => {
      const ask = (address: string) =>
        send(run.port('by_header'), '/', { headers: { 'x-envoy-original-dst-host': address } });
      assert.equal((await ask(`127.0.0.1:${run.port('two')}`)).echo().backend, 'two');
      assert.equal((await ask(`127.0.0.1:${run.port('app')}`)).echo().backend, 'app');
      const bad = await ask('not-an-address');
      assert.deepEqual([bad.status, bad.body], [503, 'no healthy upstream']);
    },
    'only what is registered': async (run) => {
      const refused = await send(run.port('registry_only'), '/', { headers: { host: 'other.example' } });
      assert.deepEqual([refused.status, refused.body], [502, '']);
      const known = await send(run.port('registry_only'), '/', { headers: { host: 'known.example' } });
      assert.equal(known.echo().backend, 'app');
      assert.equal(
        (await send(run.port('nothing'), '/', { headers: { host: 'other.example' } })).status,
        404,
      );
    },
    'the black hole': async (run) => {
      const http = await send(run.port('swallowed'), '/');
      assert.deepEqual([http.status, http.body], [503, 'no healthy upstream']);
      assert.equal(await exchange(run, 'hole', 'hello'), '');
      assert.ok((await run.stat('cluster.BlackHoleCluster.upstream_cx_none_healthy')) >= 2);
    },
    'TCP goes where the client wanted': async (run) => {
      assert.match(await exchange(run, 'passed', captured(run.port('two'))), /"backend":"two"/);
      assert.match(await exchange(run, 'passed', captured(run.port('app'))), /"backend":"app"/);
      assert.equal(await exchange(run, 'passed', captured(9)), '');
    },
    'rules by port, and the rest': async (run) => {
      const before = await run.stat('tcp.app.downstream_cx_total');
      assert.match(await exchange(run, 'ports', captured(run.port('app'))), /"backend":"app"/);
      assert.equal(await run.stat('tcp.app.downstream_cx_total'), before + 1);
      assert.match(await exchange(run, 'ports', captured(run.port('two'))), /"backend":"two"/);
      assert.equal(await exchange(run, 'ports', captured(9)), '');
      assert.ok((await run.stat('tcp.hole.downstream_cx_total')) >= 1);
    },
  },
});
