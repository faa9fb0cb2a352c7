/** CEL expressions as filters of access logs: what they see of a request, and what they cannot evaluate. */
import assert from 'node:assert/strict';
import { conformance, type Run } from '../harness/conformance.ts';
import type { RequestOptions } from '../harness/http_request.ts';

/** Requests by their path. */
const requests: Readonly<Record<string, RequestOptions>> = {
  '/ok?a=1': {
    headers: { 'x-env': 'prod', 'x-claim': 'admin', 'user-agent': 'curl/8', referer: 'http://r/' },
  },
  '/post': { method: 'POST', body: 'hello', headers: { 'x-claim': 'guest' } },
  '/fail': { headers: { 'x-want-status': '503' } },
  '/grpc': { headers: { 'content-type': 'application/grpc', 'x-want-header': 'grpc-status: 5' } },
  '/gone': {},
  '/none': {},
};
const all = Object.keys(requests);

const expressions: readonly (readonly [expression: string, logged: readonly string[]])[] = [
  ['response.code >= 400', ['/fail', '/gone', '/none']],
  ['response.code == 404', ['/gone']],
  ['response.code in [404, 503]', ['/fail', '/gone', '/none']],
  [
    'response.code < 300 || response.code_details == "direct_response"',
    ['/ok?a=1', '/post', '/grpc', '/gone'],
  ],
  ['response.grpc_status == 5', ['/grpc']],
  // Without one, what the HTTP status stands for.
  ['has(response.grpc_status)', all],
  ['response.grpc_status == 14', ['/fail', '/none']],
  ['response.grpc_status == 12', ['/gone']],
  ['response.grpc_status == 2', ['/ok?a=1', '/post']],
  ['response.flags != 0', ['/none']],
  ['response.flags == 2', ['/none']],
  ['response.headers["content-type"].startsWith("application/json")', ['/ok?a=1', '/post', '/fail', '/grpc']],
  ['request.method == "POST"', ['/post']],
  ['request.path == "/ok?a=1"', ['/ok?a=1']],
  ['request.url_path == "/ok"', ['/ok?a=1']],
  ['request.query == "a=1"', ['/ok?a=1']],
  ['request.url_path.startsWith("/g")', ['/grpc', '/gone']],
  ['request.path.contains("o") && !request.path.endsWith("e")', ['/ok?a=1', '/post']],
  ['request.url_path.matches("^/(ok|post)$")', ['/ok?a=1', '/post']],
  ['request.headers["x-env"] == "prod"', ['/ok?a=1']],
  ['request.headers["x-env"] != "prod"', []],
  ['!("x-env" in request.headers)', all.slice(1)],
  ['request.headers["x-env"] == "prod" || response.code == 404', ['/ok?a=1', '/gone']],
  ['request.useragent.startsWith("curl")', ['/ok?a=1']],
  ['request.referer == "http://r/"', ['/ok?a=1']],
  ['request.host.startsWith("127.0.0.1:")', all],
  ['request.scheme == "http" && request.protocol == "HTTP/1.1"', all],
  ['request.size == 5', ['/post']],
  ['request.time > timestamp("2020-01-01T00:00:00Z")', all],
  ['size(request.method) == 4', ['/post']],
  ['connection.mtls', []],
  ['!connection.mtls && source.address.startsWith("127.0.0.1:")', all],
  ['xds.route_name == "gone"', ['/gone']],
  ['xds.cluster_name == "app"', ['/ok?a=1', '/post', '/fail', '/grpc']],
  ['xds.filter_chain_name == "plain"', all],
  ['upstream.address != ""', ['/ok?a=1', '/post', '/fail', '/grpc']],
  ['metadata.filter_metadata["claims"]["role"] == "admin"', ['/ok?a=1']],
  ['has(request.headers.nothing)', []],
  ['response.code == "404"', []],
  ['request.method', []],
];

const logs = expressions.map(([expression], i) => ({
  name: 'file',
  filter: {
    extension_filter: {
      name: 'envoy.access_loggers.extension_filters.cel',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
        expression,
      },
    },
  },
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
    path: `DIRECTORY/${i}.log`,
    log_format: { text_format_source: { inline_string: '%REQ(:PATH)%\n' } },
  },
}));
const everything = {
  ...logs[0],
  filter: undefined,
  typed_config: { ...logs[0]?.typed_config, path: 'DIRECTORY/all.log' },
};

conformance(import.meta.filename, {
  rows: ['6.3', '8.14'],
  setUp: (directory) => ({ logs: JSON.stringify([...logs, everything]).replaceAll('DIRECTORY', directory) }),
  cases: {
    'what is logged': async (run: Run) => {
      for (const [path, options] of Object.entries(requests)) await run.get(path, options);
      assert.deepEqual(await run.lines('all.log', all.length), all);
      const wrong: string[] = [];
      for (const [i, [expression, wanted]] of expressions.entries()) {
        const lines = await run.lines(`${i}.log`, wanted.length === 0 ? 0 : wanted.length);
        if (lines.toSorted().join() !== wanted.toSorted().join())
          wrong.push(`${expression}: ${lines.join(' ')}`);
      }
      assert.deepEqual(wrong, []);
    },
  },
});
