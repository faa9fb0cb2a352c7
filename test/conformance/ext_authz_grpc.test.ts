/** External authorization by gRPC (envoy.service.auth.v3.Authorization), as Istio's CUSTOM action uses it. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  Authorization,
  type CheckRequest,
  CheckResponseSchema,
} from '../../src/api/gen/envoy/service/auth/v3/external_auth_pb.ts';
import { conformance, type Run } from '../harness/conformance.ts';
import { GrpcService } from '../harness/grpc_service.ts';
import { type Answer, type RequestOptions, send } from '../harness/http_request.ts';

type Check = MessageInitShape<typeof CheckResponseSchema>;

interface Question {
  readonly request: CheckRequest;
  readonly metadata: Headers;
}

let service: GrpcService;
const questions: Question[] = [];

const header = (key: string, value: string, append?: boolean): { header: object; append?: boolean } => ({
  header: { key, value },
  ...(append === undefined ? {} : { append }),
});
const action = (key: string, value: string, appendAction: 0 | 1 | 2 | 3): object => ({
  header: { key, value },
  appendAction,
});

const denial = {
  status: { code: 418 },
  body: 'teapot',
  headers: [header('x-reason', 'why'), header('x-multi', '1', true)],
};
const allowance = {
  headers: [
    header('x-set', 'new'),
    header('x-app', 'more', true),
    header('x-app-absent', 'more', true),
    action('x-act', 'v', 0),
  ],
  headersToRemove: ['x-remove', 'host'],
  responseHeadersToAdd: [
    header('x-resp', '1'),
    header('x-resp', '2'),
    header('x-resp-set', 's', false),
    action('x-resp-absent', 'v', 1),
    action('content-type', 'text/x', 3),
    action('x-resp-not-there', 'v', 3),
  ],
  queryParametersToSet: [
    { key: 'a', value: '2' },
    { key: 'new', value: 'x' },
  ],
  queryParametersToRemove: ['gone'],
};

function answer(path: string): object {
  if (path.startsWith('/deny'))
    return { status: { code: 7 }, httpResponse: { case: 'deniedResponse', value: denial } };
  if (path.startsWith('/plain_deny')) return { status: { code: 16 } };
  if (path.startsWith('/error'))
    return {
      status: { code: 13 },
      httpResponse: { case: 'errorResponse', value: { status: { code: 502 }, body: 'broken' } },
    };
  if (path.startsWith('/bare')) return { status: { code: 0 } };
  const headers = path.startsWith('/admin')
    ? { headers: [header('x-auth-user', 'admin')] }
    : path.startsWith('/bad')
      ? { headers: [header('bad name', 'x')] }
      : allowance;
  return {
    status: { code: 0 },
    dynamicMetadata: { user: 'alice' },
    httpResponse: { case: 'okResponse', value: headers },
  };
}

async function startService(): Promise<GrpcService> {
  return GrpcService.start((router) =>
    router.rpc(Authorization.method.check, async (request, context) => {
      questions.push({ request, metadata: context.requestHeader });
      const path = request.attributes?.request?.http?.path ?? '';
      if (path.startsWith('/throw')) throw new ConnectError('no', Code.PermissionDenied);
      if (path.startsWith('/slow')) await sleep(800);
      return create(CheckResponseSchema, answer(path) as Check);
    }),
  );
}

function ask(run: Run, listener: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  questions.length = 0;
  return send(run.port(listener), path, options);
}

conformance(import.meta.filename, {
  rows: ['7.10'],
  async setUp() {
    service = await startService();
    return { AUTHZ_PORT: String(service.port) };
  },
  tearDown: () => service.stop(),
  cases: {
    'what the service is told': async (run) => {
      await ask(run, 'in', '/bare?q=1', { headers: { 'X-User': 'u', 'x-dup': ['1', '2'] } });
      const { request, metadata } = questions[0] as Question;
      const { source, destination, request: about, contextExtensions } = request.attributes ?? {};
      const port = run.port('in');
      const address = destination?.address?.address;
      assert.equal(source?.principal, '');
      assert.ok(source?.address?.address.case === 'socketAddress' && address?.case === 'socketAddress');
      assert.equal(source.address.address.value.address, '127.0.0.1');
      assert.deepEqual(address.value.portSpecifier, { case: 'portValue', value: port });
      const http = about?.http;
      assert.ok(about?.time !== undefined && http !== undefined && http.id !== '');
      assert.deepEqual(
        [http.method, http.path, http.host, http.scheme, http.protocol, http.size, http.body],
        ['GET', '/bare?q=1', `127.0.0.1:${port}`, 'http', 'HTTP/1.1', 0n, ''],
      );
      const { headers } = http;
      assert.deepEqual(
        [':method', ':path', ':authority', ':scheme', 'x-user', 'x-dup'].map((name) => headers[name]),
        ['GET', '/bare?q=1', `127.0.0.1:${port}`, 'http', 'u', '1,2'],
      );
      assert.deepEqual({ ...contextExtensions }, { host: 'all', level: 'host' });
      assert.equal(metadata.get('x-token'), 'secret');
      assert.equal(metadata.get('grpc-timeout'), '500m');
      await ask(run, 'in', '/nobody');
      assert.deepEqual(
        { ...questions[0]?.request.attributes?.contextExtensions },
        { host: 'all', level: 'route' },
      );
    },
    'what the service changes': async (run) => {
      const reply = await ask(run, 'in', '/allow?a=1&gone=1&b=%20c', {
        headers: { 'x-set': 'old', 'x-app': 'a', 'x-remove': '1' },
      });
      assert.equal(reply.status, 200);
      const { path, headers } = reply.echo();
      assert.equal(path, '/allow?a=2&b=%20c&new=x');
      assert.deepEqual(
        ['x-set', 'x-app', 'x-app-absent', 'x-act', 'x-remove'].map((name) => headers[name]),
        ['new', 'a,more', undefined, 'v', undefined],
      );
      assert.equal(headers['host'], `127.0.0.1:${run.port('in')}`);
      assert.deepEqual(
        ['x-resp', 'x-resp-set', 'x-resp-absent', 'content-type', 'x-resp-not-there'].map(
          (name) => reply.headers[name],
        ),
        ['1, 2', 's', 'v', 'text/x', undefined],
      );
      assert.equal((await ask(run, 'in', '/admin')).body, 'admin page');
    },
    'refusals and failures': async (run) => {
      const denied = await ask(run, 'in', '/deny');
      assert.deepEqual([denied.status, denied.body], [418, 'teapot']);
      assert.deepEqual([denied.headers['x-reason'], denied.headers['x-multi']], ['why', undefined]);
      assert.equal((await ask(run, 'in', '/plain_deny')).status, 403);
      const broken = await ask(run, 'in', '/error');
      assert.deepEqual([broken.status, broken.body], [502, 'broken']);
      assert.equal((await ask(run, 'in', '/throw')).status, 403);
      assert.equal((await ask(run, 'in', '/slow')).status, 403);
      assert.equal((await ask(run, 'text', '/throw')).status, 503);
      const lines = await run.lines('in.log', 9);
      assert.deepEqual(
        lines.slice(-5).map((line) => line.split(' ').slice(1, 4).join(' ')),
        [
          '418 UAEX ext_authz_denied',
          '403 UAEX ext_authz_denied',
          '502 UAEX ext_authz_error',
          '403 UAEX ext_authz_error',
          '403 UAEX ext_authz_error',
        ],
      );
    },
    'routes without a guard': async (run) => {
      assert.equal((await ask(run, 'in', '/open')).status, 200);
      assert.equal(questions.length, 0);
    },
    'the body, as bytes or as text': async (run) => {
      const options = { method: 'POST', body: 'hello world', headers: { 'x-user': 'u', 'x-other': 'o' } };
      assert.equal((await ask(run, 'body', '/allow', options)).echo().body, 'hello world');
      const part = questions[0]?.request.attributes?.request?.http;
      assert.equal(Buffer.from(part?.rawBody ?? []).toString(), 'hello worl');
      assert.deepEqual([part?.body, part?.size], ['', 11n]);
      assert.deepEqual({ ...part?.headers }, { 'x-user': 'u', 'x-envoy-auth-partial-body': 'true' });
      await ask(run, 'text', '/allow', options);
      const whole = questions[0]?.request.attributes?.request?.http;
      assert.deepEqual([whole?.body, whole?.rawBody.length], ['hello world', 0]);
      assert.equal(whole?.headers['x-envoy-auth-partial-body'], 'false');
    },
    'changes that are no headers are not made': async (run) => {
      assert.equal((await ask(run, 'text', '/bad')).status, 500);
      assert.equal(await run.stat('http.text.ext_authz.invalid'), 1);
      assert.match((await run.lines('text.log', 3)).at(-1) ?? '', /500 UAEX ext_authz_invalid/);
    },
    'statistics and dynamic metadata': async (run) => {
      const read = (name: string): Promise<number> => run.stat(`http.in.ext_authz.own.${name}`);
      assert.deepEqual(await Promise.all(['ok', 'denied', 'error'].map(read)), [4, 2, 3]);
      assert.equal(await run.stat('cluster.app.ext_authz.own.denied'), 2);
      const line = (await run.lines('in.log', 3)).find((text) => text.startsWith('/allow')) ?? '';
      assert.match(line, /"ext_authz_duration":\d+.*"user":"alice"|"user":"alice".*"ext_authz_duration":\d+/);
    },
  },
});
