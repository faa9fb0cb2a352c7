/**
 * One HTTP/1.1 proxy without worker, xDS and admin: for profiles of the request path alone.
 *
 *   node --cpu-prof bench/micro/http1_proxy.ts --upstream 9000 --port 9300 [--seconds 10]
 *   wrk -t1 -c64 -d8s http://127.0.0.1:9300/
 */
import { parseArgs } from 'node:util';
import { TestProxy } from '#proxy/filters/network/http_connection_manager/testing.ts';

const { values: flags } = parseArgs({
  options: {
    upstream: { type: 'string', default: '9000' },
    port: { type: 'string', default: '9300' },
    seconds: { type: 'string', default: '0' },
  },
});

// The shape of bench/compare: a route as Istio writes it.
const proxy = new TestProxy({
  clusters: { a: [Number(flags.upstream)] },
  hcm: { normalize_path: true, server_name: 'istio-envoy', stream_idle_timeout: '0s' },
  routes: {
    name: '9080',
    virtual_hosts: [
      {
        name: 'backend.default.svc.cluster.local:9080',
        domains: ['backend', 'backend.default', '*'],
        routes: [
          {
            name: 'default',
            match: { prefix: '/' },
            route: {
              cluster: 'a',
              timeout: '0s',
              retry_policy: {
                retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
                num_retries: 2,
                retry_host_predicate: [{ name: 'envoy.retry_host_predicates.previous_hosts' }],
                host_selection_retry_max_attempts: '5',
              },
            },
          },
        ],
      },
    ],
  },
});
proxy.server.listen(Number(flags.port), '127.0.0.1');
if (Number(flags.seconds) > 0) setTimeout(() => process.exit(0), Number(flags.seconds) * 1000);
