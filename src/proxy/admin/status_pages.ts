/** Pages on the state of the server, and those that switch it. */
import { X509Certificate } from 'node:crypto';
import { toJson } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type LogLevel, logLevels } from '#base/log.ts';
import { type AdminPage, json, text } from './page.ts';
import type { CertificateState } from './proxy_state.ts';

/** Envoy's names of levels, onto ours. */
const envoyLevels: Readonly<Record<string, LogLevel>> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  warn: 'warn',
  error: 'error',
  critical: 'error',
  off: 'none',
};

export const ready: AdminPage = {
  path: '/ready',
  help: 'print server state, return 200 if LIVE, otherwise return 503',
  changes: false,
  answer({ serverState }) {
    return text(`${serverState}\n`, serverState === 'LIVE' ? 200 : 503);
  },
};

export const serverInfo: AdminPage = {
  path: '/server_info',
  help: 'print server version/status information',
  changes: false,
  answer(state) {
    const uptime = `${Math.floor((Date.now() - state.startedMs) / 1000)}s`;
    return json({
      version: state.version,
      state: state.serverState,
      hot_restart_version: 'disabled',
      command_line_options: { concurrency: state.concurrency, log_level: state.logLevel },
      node: toJson(NodeSchema, state.node, { useProtoFieldName: true }),
      uptime_current_epoch: uptime,
      uptime_all_epochs: uptime,
    });
  },
};

export const logging: AdminPage = {
  path: '/logging',
  help: 'query/change logging levels',
  changes: true,
  answer(state, { query }) {
    let wanted = query.get('level') ?? undefined;
    // Levels of single loggers: the last one counts for all, there is one logger.
    const paths = query.get('paths');
    if (paths !== null) wanted = paths.split(',').at(-1)?.split(':').at(-1);
    const single = [...query.keys()].find((key) => key !== 'level' && key !== 'paths');
    if (single !== undefined) wanted = query.get(single) ?? undefined;
    if (wanted !== undefined) {
      const level = envoyLevels[wanted];
      if (level === undefined)
        return text(`error: unknown logger level, use one of ${Object.keys(envoyLevels).join(' ')}\n`, 400);
      state.logLevel = level;
    }
    const shown = logLevels.includes(state.logLevel) ? state.logLevel : 'info';
    return text(
      `active loggers:\n  proxy: ${shown === 'warn' ? 'warning' : shown === 'none' ? 'off' : shown}\n`,
    );
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

function details(pem: string): object {
  const certificate = new X509Certificate(pem);
  const expiration = Date.parse(certificate.validTo);
  return {
    path: '<inline>',
    serial_number: certificate.serialNumber.toLowerCase(),
    subject_alt_names: subjectAltNames(certificate),
    days_until_expiration: String(Math.max(0, Math.floor((expiration - Date.now()) / dayMs))),
    valid_from: new Date(certificate.validFrom).toISOString(),
    expiration_time: new Date(expiration).toISOString(),
  };
}

function certificate({ kind, pem }: CertificateState): object {
  const list = splitPem(pem).map(details);
  return kind === 'roots' ? { ca_cert: list, cert_chain: [] } : { ca_cert: [], cert_chain: list };
}

export const certs: AdminPage = {
  path: '/certs',
  help: 'print certs on machine',
  changes: false,
  async answer(state) {
    return json({ certificates: (await state.certificates()).map(certificate) });
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
  answer(state, { query }) {
    // With `graceful` open connections are told to let go while new ones are still taken.
    state.drain({ inboundOnly: query.has('inboundonly'), stop: !query.has('graceful') });
    return text('OK\n');
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
