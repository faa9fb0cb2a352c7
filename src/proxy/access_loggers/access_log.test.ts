import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  type AccessLogFilter,
  AccessLogFilterSchema,
  AccessLogSchema,
  ComparisonFilter_Op,
} from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import { FileAccessLogSchema } from '#api/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts';
import { compileTextFormat } from '#telemetry/access_log/format.ts';
import { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import type { Address } from '../network/address.ts';
import { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { ExtensionRegistry } from '../registry.ts';
import { ResponseFlag } from '../stream_info/response_flags.ts';
import { StreamInfo, newUpstreamInfo } from '../stream_info/stream_info.ts';
import { createAccessLoggers } from './access_log.ts';
import { fileAccessLogger } from './file/config.ts';
import type { LogEntry } from './log_entry.ts';
import { compileLogFilter } from './log_filter.ts';
import { LogSinks } from './log_sinks.ts';
import { createOperators } from './operators.ts';

/** Istio's default format, as the seed quotes it. */
const istioFormat =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n';

const browser =
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36';

/** The six lines of the seed ([Shell 3]). */
const seedLines = `[2025-05-04T17:22:18.230Z] "GET /details/0 HTTP/1.1" 200 - via_upstream - "-" 0 178 151 124 "-" "${browser}" "23a37732-e001-9302-b72f-284faaf8f7cc" "details:9080" "10.244.1.14:9080" outbound|9080||details.default.svc.cluster.local 10.244.2.19:38918 10.96.94.35:9080 10.244.2.19:39068 - default
[2025-05-04T17:22:18.402Z] "GET /reviews/0 HTTP/1.1" 200 - via_upstream - "-" 0 358 649 648 "-" "${browser}" "0157ddc1-8fd0-9d95-b3cd-4b5d0c9001bb" "reviews:9080" "10.244.2.20:9080" outbound|9080||reviews.default.svc.cluster.local 10.244.2.19:40188 10.96.81.152:9080 10.244.2.19:40142 - default
[2025-05-04T17:22:24.163Z] "GET /details/0 HTTP/1.1" 200 - via_upstream - "-" 0 178 35 27 "-" "${browser}" "5c82d8bc-2a15-9a25-81bf-c567fe990e6d" "details:9080" "10.244.1.14:9080" outbound|9080||details.default.svc.cluster.local 10.244.2.19:38918 10.96.94.35:9080 10.244.2.19:39764 - default
[2025-05-04T17:22:24.209Z] "GET /reviews/0 HTTP/1.1" 200 - via_upstream - "-" 0 437 994 991 "-" "${browser}" "121ac9af-1ee6-93c6-b973-8dc808723603" "reviews:9080" "10.244.1.15:9080" outbound|9080||reviews.default.svc.cluster.local 10.244.2.19:60236 10.96.81.152:9080 10.244.2.19:45090 - default
[2025-05-04T17:22:58.962Z] "GET /details/0 HTTP/1.1" 200 - via_upstream - "-" 0 178 78 54 "-" "${browser}" "1215fb69-21c7-9b8d-98d7-b90ea053a76c" "details:9080" "10.244.1.14:9080" outbound|9080||details.default.svc.cluster.local 10.244.2.19:38918 10.96.94.35:9080 10.244.2.19:46332 - default
[2025-05-04T17:22:59.046Z] "GET /reviews/0 HTTP/1.1" 200 - via_upstream - "-" 0 437 142 141 "-" "${browser}" "4e43168a-01e6-907c-ba17-2f72fad816a8" "reviews:9080" "10.244.1.15:9080" outbound|9080||reviews.default.svc.cluster.local 10.244.2.19:60236 10.96.81.152:9080 10.244.2.19:55058 - default
`;

const operators = createOperators({ hostname: 'pod-1', variables: { ZONE: 'a' } });

function address(text: string): Address {
  const [ip = '', port = ''] = text.split(':');
  return { ip, port: Number(port) };
}

interface Request {
  time: string;
  service: string;
  bytes: number;
  durationMs: number;
  upstreamMs: number;
  id: string;
  upstream: string;
  upstreamLocal: string;
  local: string;
  remote: string;
}

function entryOf(request: Request): LogEntry {
  const connection = new AcceptedConnectionInfo(address(request.local), address(request.remote));
  const info = new StreamInfo(connection, 'HTTP/1.1');
  Object.assign(info, {
    startTimeMs: Date.parse(request.time),
    end: info.start + request.durationMs + 0.4,
    bytesSent: request.bytes,
    responseCode: 200,
    responseCodeDetails: 'via_upstream',
    routeName: 'default',
    clusterName: `outbound|9080||${request.service}.default.svc.cluster.local`,
    upstream: {
      ...newUpstreamInfo(),
      hostAddress: address(request.upstream),
      localAddress: address(request.upstreamLocal),
    },
  });
  const headers = new RequestHeaderMap(['user-agent', 'x-request-id'], [browser, request.id]);
  headers.method = 'GET';
  headers.path = `/${request.service}/0`;
  headers.authority = `${request.service}:9080`;
  const response = new ResponseHeaderMap(['x-envoy-upstream-service-time'], [String(request.upstreamMs)]);
  response.status = 200;
  return { info, request: headers, response, trailers: undefined };
}

/** Reads a line of the default format back into its request. */
function parseLine(line: string): Request {
  const pattern =
    /^\[(\S+)\] "GET \/(\w+)\/0 HTTP\/1.1" 200 - via_upstream - "-" 0 (\d+) (\d+) (\d+) "-" ".*" "(\S+)" "\S+" "(\S+)" \S+ (\S+) (\S+) (\S+) - default$/;
  const [
    ,
    time = '',
    service = '',
    bytes,
    duration,
    upstreamTime,
    id = '',
    upstream = '',
    upstreamLocal = '',
    local = '',
    remote = '',
  ] = pattern.exec(line) ?? [];
  return {
    time,
    service,
    bytes: Number(bytes),
    durationMs: Number(duration),
    upstreamMs: Number(upstreamTime),
    id,
    upstream,
    upstreamLocal,
    local,
    remote,
  };
}

test('the default format gives the lines of the seed to the byte', () => {
  const format = compileTextFormat(istioFormat, operators);
  const lines = seedLines.trimEnd().split('\n');
  assert.equal(lines.length, 6);
  assert.equal(lines.map((line) => format(entryOf(parseLine(line)))).join(''), seedLines);
});

function sample(): LogEntry {
  return entryOf(parseLine(seedLines.split('\n')[0] as string));
}

const operatorCases: [format: string, expected: string, change?: (entry: LogEntry) => void][] = [
  [
    '%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%',
    'UF UpstreamConnectionFailure',
    ({ info }) => (info.responseFlags = ResponseFlag.upstreamConnectionFailure),
  ],
  ['%RESPONSE_CODE_DETAILS%', 'a_b{c_d}', ({ info }) => (info.responseCodeDetails = 'a b{c d}')],
  ['%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%', 'a b', ({ info }) => (info.responseCodeDetails = 'a b')],
  ['%START_TIME(%Y/%m/%d %3f)% %START_TIME(%s)%', '2025/05/04 230 1746379338'],
  ['%REQ(X-Y?:AUTHORITY):7%', 'details'],
  [
    '%REQ(:PATH)% %PATH% %PATH(NQ)% %PATH(WQ:PATH)% %QUERY_PARAM(a)% %QUERY_PARAMS%',
    '/x?a=1&b /old?q /old /x?a=1&b 1 a=1&b',
    ({ request }) => {
      request!.path = '/x?a=1&b';
      request!.add('x-envoy-original-path', '/old?q');
    },
  ],
  [
    '%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%',
    'PermissionDenied PERMISSION_DENIED 7 7',
    (entry) => {
      entry.trailers = new HeaderMap(['grpc-status'], ['7']);
    },
  ],
  ['%GRPC_STATUS% %TRAILER(grpc-status)%', '- -'],
  [
    '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)%',
    '10.244.2.19 39068 10.244.0.0/16',
  ],
  [
    '%UPSTREAM_HOST% %UPSTREAM_REMOTE_PORT% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%',
    '10.244.1.14:9080 9080 10.244.2.19',
  ],
  ['%HOSTNAME% %ENVIRONMENT(ZONE)% %ENVIRONMENT(NONE)% %ACCESS_LOG_TYPE%', 'pod-1 a - DownstreamEnd'],
  [
    '%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%',
    '2 5 - 5000',
    ({ info }) => {
      info.lastDownstreamByteReceived = info.start + 2;
      info.upstream!.firstByteReceivedMs = info.start + 5;
    },
  ],
  [
    '%DYNAMIC_METADATA(f:a:b)% %DYNAMIC_METADATA(f)% %METADATA(DYNAMIC:f:a:c)% %DYNAMIC_METADATA(f:constructor)%',
    'x {"a":{"b":"x"}} - -',
    ({ info }) => info.setDynamicMetadata('f', { a: { b: 'x' } }),
  ],
  [
    '%FILTER_STATE(k:FIELD:name)% %FILTER_STATE(k)% %FILTER_STATE(none)%',
    'n {"name":"n"} -',
    ({ info }) => info.setFilterState('k', { name: 'n' }),
  ],
  [
    '%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TLS_VERSION% %UPSTREAM_PEER_SUBJECT%',
    'spiffe://td/ns/a/sa/b TLSv1.3 -',
    ({ info }) => {
      info.connection.tls = {
        version: 'TLSv1.3',
        cipher: 'x',
        peerCertificateValidated: true,
        peerUriSans: ['spiffe://td/ns/a/sa/b'],
        peerDnsSans: [],
        peerSubject: '',
        localUriSans: [],
        localSubject: '',
        peerCertificateDer: undefined,
      };
    },
  ],
  [
    'é %ROUTE_NAME% %REQ(x-name)%',
    'é rué é',
    ({ info, request }) => {
      info.routeName = 'rué';
      request!.add('x-name', Buffer.from('é').toString('latin1'));
    },
  ],
];

test('operators', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-log-'));
  try {
    for (const [i, [format, expected, change]] of operatorCases.entries()) {
      const entry = sample();
      change?.(entry);
      assert.equal(await writeLine(join(directory, String(i)), format, entry), expected, format);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** Through the whole logger, to a file: bytes matter. */
async function writeLine(
  path: string,
  format: string,
  entry: LogEntry,
  filter?: AccessLogFilter,
): Promise<string> {
  const sinks = new LogSinks(() => {});
  const config = create(FileAccessLogSchema, {
    path,
    accessLogFormat: {
      case: 'logFormat',
      value: {
        format: { case: 'textFormatSource', value: { specifier: { case: 'inlineString', value: format } } },
      },
    },
  });
  const log = create(AccessLogSchema, {
    name: 'file',
    configType: { case: 'typedConfig', value: anyPack(FileAccessLogSchema, config) },
    ...(filter === undefined ? {} : { filter }),
  });
  const registry = new ExtensionRegistry({ access_logger: [fileAccessLogger] });
  const [logger] = createAccessLoggers([log], { registry, operators, sinks });
  logger?.log(entry.info, entry.request, entry.response, entry.trailers);
  await sinks.close();
  return readFileSync(path, 'utf8');
}

function statusAtLeast(limit: number): AccessLogFilter {
  return create(AccessLogFilterSchema, {
    filterSpecifier: {
      case: 'statusCodeFilter',
      value: { comparison: { op: ComparisonFilter_Op.GE, value: { defaultValue: limit } } },
    },
  });
}

test('filters', () => {
  const both = create(AccessLogFilterSchema, {
    filterSpecifier: { case: 'andFilter', value: { filters: [statusAtLeast(200), statusAtLeast(500)] } },
  });
  const either = create(AccessLogFilterSchema, {
    filterSpecifier: { case: 'orFilter', value: { filters: [statusAtLeast(200), statusAtLeast(500)] } },
  });
  const cases: [AccessLogFilter, boolean, ((entry: LogEntry) => void)?][] = [
    [statusAtLeast(200), true],
    [statusAtLeast(201), false],
    [both, false],
    [either, true],
    [create(AccessLogFilterSchema, { filterSpecifier: { case: 'responseFlagFilter', value: {} } }), false],
    [
      create(AccessLogFilterSchema, {
        filterSpecifier: { case: 'responseFlagFilter', value: { flags: ['NR'] } },
      }),
      true,
      ({ info }) => (info.responseFlags = ResponseFlag.noRouteFound),
    ],
    [
      create(AccessLogFilterSchema, { filterSpecifier: { case: 'notHealthCheckFilter', value: {} } }),
      false,
      ({ info }) => (info.healthCheck = true),
    ],
    [
      create(AccessLogFilterSchema, {
        filterSpecifier: {
          case: 'headerFilter',
          value: {
            header: { name: 'user-agent', headerMatchSpecifier: { case: 'presentMatch', value: true } },
          },
        },
      }),
      true,
    ],
    [
      create(AccessLogFilterSchema, {
        filterSpecifier: { case: 'grpcStatusFilter', value: { statuses: [14] } },
      }),
      true,
      ({ info }) => (info.responseCode = 503),
    ],
    [
      create(AccessLogFilterSchema, {
        filterSpecifier: {
          case: 'runtimeFilter',
          value: { runtimeKey: 'k', percentSampled: { numerator: 0 } },
        },
      }),
      false,
    ],
    [
      create(AccessLogFilterSchema, {
        filterSpecifier: {
          case: 'runtimeFilter',
          value: { runtimeKey: 'k', percentSampled: { numerator: 100 } },
        },
      }),
      true,
    ],
  ];
  for (const [filter, expected, change] of cases) {
    const entry = sample();
    change?.(entry);
    assert.equal(compileLogFilter(filter)(entry), expected, String(filter.filterSpecifier.case));
  }
  const cel = create(AccessLogFilterSchema, {
    filterSpecifier: { case: 'extensionFilter', value: { name: 'cel' } },
  });
  assert.throws(() => compileLogFilter(cel), /access log filter cel .* is not supported/);
});

test('batches are whole lines, standard output goes to the main thread, bad files are named', async () => {
  const batches = new Array<string>();
  const sinks = new LogSinks((fd, text) => batches.push(`${fd}:${Buffer.from(text).toString()}`));
  const out = sinks.open('/dev/stdout');
  out.write('a\n');
  sinks.open('/proc/self/fd/1').write('b\n');
  assert.deepEqual(batches, []);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.deepEqual(batches, ['1:a\nb\n']);
  const line = `${'x'.repeat(1000)}\n`;
  for (let i = 0; i < 70; i++) out.write(line);
  assert.equal((batches[1] ?? '').length % line.length, 2);
  assert.throws(() => sinks.open('/nonexistent/dir/log'), /unable to open file '\/nonexistent\/dir\/log'/);
  await sinks.close();
});

test('what a file is given comes out in order, whatever its size', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-log-'));
  try {
    const sinks = new LogSinks(() => {});
    const path = join(directory, 'log');
    const sink = sinks.open(path);
    let expected = '';
    for (let i = 0; i < 20_000; i++) {
      sink.write(`line ${i}\n`);
      expected += `line ${i}\n`;
    }
    await sinks.close();
    assert.equal(readFileSync(path, 'utf8'), expected);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
