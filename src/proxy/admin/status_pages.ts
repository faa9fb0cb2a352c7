/** Pages on the state of the server, and those that switch it. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { toJson } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type AdminPage, json, text } from './page.ts';
import type { CertificatePlace, ContextCertificates } from '../network/tls_contexts.ts';
import type { ProxyState } from './proxy_state.ts';

export const ready: AdminPage = {
  path: '/ready',
  help: 'print server state, return 200 if LIVE, otherwise return 503',
  changes: false,
  answer({ serverState }) {
    return text(`${serverState}\n`, serverState === 'LIVE' ? 200 : 503);
  },
};

/** envoy.admin.v3.CommandLineOptions; what we have no use for stands at Envoy's default. */
function commandLineOptions({ commandLine, concurrency }: ProxyState): object {
  return {
    base_id: '0',
    concurrency,
    config_path: commandLine.configPath ?? '',
    config_yaml: commandLine.configYaml ?? '',
    allow_unknown_static_fields: commandLine.allowUnknownStaticFields ?? false,
    admin_address_path: '',
    local_address_ip_version: 'v4',
    log_level: commandLine.logLevel,
    component_log_level: '',
    log_format: '',
    log_path: '',
    service_cluster: commandLine.serviceCluster ?? '',
    service_node: commandLine.serviceNode ?? '',
    service_zone: commandLine.serviceZone ?? '',
    file_flush_interval: '0.1s',
    drain_time: `${commandLine.drainTimeMs / 1000}s`,
    parent_shutdown_time: '900s',
    mode: 'Serve',
    disable_hot_restart: true,
    enable_mutex_tracing: false,
    restart_epoch: 0,
    cpuset_threads: false,
    reject_unknown_dynamic_fields: false,
    log_format_escaped: false,
    disabled_extensions: [],
    ignore_unknown_dynamic_fields: false,
    use_dynamic_base_id: false,
    base_id_path: '',
    drain_strategy: commandLine.drainStrategy === 'immediate' ? 'Immediate' : 'Gradual',
    enable_fine_grain_logging: false,
    socket_path: '',
    socket_mode: 0,
    enable_core_dump: false,
    stats_tag: [],
    skip_hot_restart_on_no_parent: false,
    skip_hot_restart_parent_stats: false,
    skip_deprecated_logs: false,
    file_flush_min_size: 0,
    log_stacktrace_single_entry: false,
  };
}

export const serverInfo: AdminPage = {
  path: '/server_info',
  help: 'print server version/status information',
  changes: false,
  answer(state) {
    const uptime = `${Math.floor((Date.now() - state.startedMs) / 1000)}s`;
    return json({
      version: state.version,
      state: state.serverState,
      uptime_current_epoch: uptime,
      uptime_all_epochs: uptime,
      hot_restart_version: 'disabled',
      hot_restart_initializing: false,
      command_line_options: commandLineOptions(state),
      node: toJson(NodeSchema, state.node, { useProtoFieldName: true, alwaysEmitImplicit: true }),
    });
  },
};

export const memory: AdminPage = {
  path: '/memory',
  help: 'print current allocation/heap usage',
  changes: false,
  async answer(state) {
    const { heapUsed, heapTotal } = await state.memory();
    return json({
      allocated: String(heapUsed),
      heap_size: String(heapTotal),
      pageheap_unmapped: '0',
      pageheap_free: String(heapTotal - heapUsed),
      total_thread_cache: '0',
      total_physical_bytes: String(process.memoryUsage.rss()),
    });
  },
};

const dayMs = 86_400_000;

/** Blocks of a PEM text. */
function splitPem(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
}

function subjectAltNames(certificate: X509Certificate): Record<string, string>[] {
  return (certificate.subjectAltName ?? '').split(', ').flatMap((entry): Record<string, string>[] => {
    if (entry.startsWith('DNS:')) return [{ dns: entry.slice(4) }];
    if (entry.startsWith('URI:')) return [{ uri: entry.slice(4) }];
    if (entry.startsWith('IP Address:')) return [{ ip_address: entry.slice(11) }];
    return [];
  });
}

/** As protobuf's JSON prints times without a fraction. */
function seconds(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function details(pem: string, path: string): object {
  const certificate = new X509Certificate(pem);
  const expiration = Date.parse(certificate.validTo);
  return {
    path,
    serial_number: certificate.serialNumber.toLowerCase(),
    subject_alt_names: subjectAltNames(certificate),
    days_until_expiration: String(Math.max(0, Math.floor((expiration - Date.now()) / dayMs))),
    valid_from: seconds(Date.parse(certificate.validFrom)),
    expiration_time: seconds(expiration),
  };
}

async function detailsAt({ pem, path }: CertificatePlace): Promise<object[]> {
  const source = path === '' ? pem : await readFile(path, 'utf8').catch(() => '');
  return splitPem(source).map((one) => details(one, path === '' ? '<inline>' : path));
}

/** One context: its first root, and the leaf of each of its chains, as Envoy shows them. */
async function context({ ca, chains }: ContextCertificates): Promise<object> {
  const roots = ca === undefined ? [] : (await detailsAt(ca)).slice(0, 1);
  const leaves = await Promise.all(chains.map(async (place) => (await detailsAt(place)).slice(0, 1)));
  return { ca_cert: roots, cert_chain: leaves.flat() };
}

export const certs: AdminPage = {
  path: '/certs',
  help: 'print certs on machine',
  changes: false,
  async answer(state) {
    const certificates = await Promise.all((await state.certificates()).map(context));
    return json({ certificates });
  },
};

export const healthCheckFail: AdminPage = {
  path: '/healthcheck/fail',
  help: 'cause the server to fail health checks',
  changes: true,
  answer(state) {
    state.failHealthCheck(true);
    return text('OK\n');
  },
};

export const healthCheckOk: AdminPage = {
  path: '/healthcheck/ok',
  help: 'cause the server to pass health checks',
  changes: true,
  answer(state) {
    state.failHealthCheck(false);
    return text('OK\n');
  },
};

export const drainListeners: AdminPage = {
  path: '/drain_listeners',
  help: 'drain listeners',
  changes: true,
  parameters: [
    {
      name: 'graceful',
      help: 'When draining listeners, enter a graceful drain period prior to closing listeners.',
    },
    {
      name: 'skip_exit',
      help: 'When draining listeners, drain the connections but never stop the listeners.',
    },
    { name: 'inboundonly', help: 'Drains all inbound listeners: those whose traffic_direction is INBOUND.' },
  ],
  answer(state, { query }) {
    state.drain({
      inboundOnly: query.has('inboundonly'),
      graceful: query.has('graceful') || query.has('skip_exit'),
      stop: !query.has('skip_exit'),
    });
    return text('OK\n');
  },
};

export const hotRestartVersion: AdminPage = {
  path: '/hot_restart_version',
  help: 'print the hot restart compatibility version',
  changes: false,
  answer: () => text('disabled'),
};

export const initDump: AdminPage = {
  path: '/init_dump',
  help: 'dump what start-up waits for (experimental)',
  changes: false,
  parameters: [{ name: 'mask', help: 'listener or cluster: what of it to dump' }],
  answer(state, { query }) {
    const mask = query.get('mask');
    const { clusters, listeners } = state.warming();
    const dumps = [
      ...(mask === 'listener' ? [] : clusters.map((name) => ['Cluster', name])),
      ...(mask === 'cluster' ? [] : listeners.map((name) => ['Listener', name])),
    ];
    if (dumps.length === 0) return json({});
    return json({
      unready_targets_dumps: dumps.map(([kind, name]) => ({
        name: `init manager ${kind} ${name}`,
        target_names: [`warming ${name}`],
      })),
    });
  },
};

export const reopenLogs: AdminPage = {
  path: '/reopen_logs',
  help: 'reopen access logs',
  changes: true,
  answer(state) {
    state.reopenLogs();
    return text('OK\n');
  },
};

export const quitQuitQuit: AdminPage = {
  path: '/quitquitquit',
  help: 'exit the server',
  changes: true,
  answer(state) {
    // The answer goes out first.
    setImmediate(() => state.quit());
    return text('OK\n');
  },
};
