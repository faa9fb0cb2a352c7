/** Fixtures of this room's tests: a small authority made with openssl, sockets, secrets that change. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Secret, SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { AcceptedConnectionInfo } from '../../network/connection_info.ts';
import type { TlsInfo } from '../../network/connection.ts';
import { type SecretProvider, noSecrets } from '../../network/secret.ts';
import {
  type DownstreamTransportSocketFactory,
  type UpstreamTransportOptions,
  type UpstreamTransportSocketFactory,
  noTransportOptions,
} from '../../network/transport_socket.ts';
import { downstreamTls } from './downstream.ts';
import { upstreamTls } from './upstream.ts';

/** A certificate and its key, PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** `20200102000000Z`. */
function opensslTime(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, '') + 'Z';
}

/** An authority that signs what tests need. */
export class TestAuthority {
  readonly #folder = mkdtempSync(join(tmpdir(), 'trysail-tls-'));
  readonly cert: string;
  #serial = 0;

  constructor(name: string) {
    this.#openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      `/O=${name}`,
    );
    this.cert = this.#read('ca.pem');
  }

  /** @param altNames openssl's list, `URI:spiffe://td/ns/a/sa/b,DNS:x`. @param days may be a fraction; negative makes an expired one. */
  issue(altNames: string, subject = '/', days = 1): Identity {
    const name = `leaf${++this.#serial}`;
    this.#openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      subject,
    );
    writeFileSync(
      join(this.#folder, 'ext'),
      `subjectAltName=critical,${altNames}\nextendedKeyUsage=serverAuth,clientAuth\n`,
    );
    const request = ['-in', `${name}.csr`, '-out', `${name}.pem`, '-extfile', 'ext'];
    if (Number.isInteger(days) && days > 0) {
      const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', String(this.#serial)];
      this.#openssl('x509', '-req', ...request, ...signer, '-days', String(days));
    } else {
      // Only `openssl ca` of all versions can sign for other times than whole days from now.
      this.#writeDatabase();
      const end = days > 0 ? opensslTime(Date.now() + days * 86_400_000) : '20200102000000Z';
      const dates = ['-startdate', '20200101000000Z', '-enddate', end];
      this.#openssl('ca', '-batch', '-notext', ...this.#database, ...request, ...dates);
    }
    return { cert: this.#read(`${name}.pem`), key: this.#read(`${name}.key`) };
  }

  /** A revocation list that names the certificates. */
  revoke(...identities: Identity[]): string {
    this.#writeDatabase();
    for (const identity of identities) {
      writeFileSync(join(this.#folder, 'revoked.pem'), identity.cert);
      this.#openssl('ca', ...this.#database, '-revoke', 'revoked.pem');
    }
    this.#openssl('ca', ...this.#database, '-gencrl', '-out', 'crl.pem');
    return this.#read('crl.pem');
  }

  readonly #database = ['-config', 'ca.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key'];

  #writeDatabase(): void {
    const write = (file: string, text: string): void => writeFileSync(join(this.#folder, file), text);
    write(
      'ca.cnf',
      '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ncrlnumber=crlnumber\n' +
        'default_md=sha256\ndefault_crl_days=1\npolicy=p\nunique_subject=no\n[p]\ncommonName=optional\n',
    );
    write('index.txt', '');
    write('crlnumber', '01\n');
    write('serial', '7001\n');
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'ignore' });
  }

  #read(file: string): string {
    return readFileSync(join(this.#folder, file), 'utf8');
  }
}

const inline = (text: string) => ({ specifier: { case: 'inlineString' as const, value: text } });

export function certificateOf(identity: Identity): object {
  return { certificateChain: inline(identity.cert), privateKey: inline(identity.key) };
}

export function trust(pem: string, more: object = {}): object {
  return {
    validationContextType: { case: 'validationContext', value: { trustedCa: inline(pem), ...more } },
  };
}

export function secretOf(name: string, identity: Identity): Secret {
  return create(SecretSchema, {
    name,
    type: { case: 'tlsCertificate', value: certificateOf(identity) },
  } as never);
}

export function trustSecret(name: string, pem: string): Secret {
  return create(SecretSchema, {
    name,
    type: { case: 'validationContext', value: { trustedCa: inline(pem) } },
  } as never);
}

/** Secrets that tests deliver by hand. */
export class TestSecrets implements SecretProvider {
  readonly #current = new Map<string, Secret>();
  readonly #watchers = new Map<string, Set<() => void>>();
  open = 0;

  get(...[name, , onChange]: Parameters<SecretProvider['get']>): ReturnType<SecretProvider['get']> {
    const watchers = this.#watchers.get(name) ?? new Set();
    this.#watchers.set(name, watchers.add(onChange));
    this.open++;
    const current = this.#current;
    return {
      get current() {
        return current.get(name);
      },
      close: () => {
        this.open--;
        watchers.delete(onChange);
      },
    };
  }

  deliver(secret: Secret): void {
    this.#current.set(secret.name, secret);
    for (const watcher of this.#watchers.get(secret.name) ?? []) watcher();
  }
}

export function downstream(
  config: object,
  secrets: SecretProvider = noSecrets,
): DownstreamTransportSocketFactory {
  const value = toBinary(DownstreamTlsContextSchema, create(DownstreamTlsContextSchema, config as never));
  return downstreamTls.create({ value }, { secrets });
}

export function upstream(
  config: object,
  secrets: SecretProvider = noSecrets,
): UpstreamTransportSocketFactory {
  const value = toBinary(UpstreamTlsContextSchema, create(UpstreamTlsContextSchema, config as never));
  return upstreamTls.create({ value }, { secrets });
}

/** How one side came out of a handshake. */
export interface Side {
  socket?: Socket;
  tls?: TlsInfo | undefined;
  protocol?: string;
  failure?: string;
}

/** Server and client side of one connection over loopback. */
export interface Handshaken {
  readonly server: Side;
  readonly client: Side;
  readonly info: AcceptedConnectionInfo;
}

function side(
  start: (callbacks: Parameters<UpstreamTransportSocketFactory['wrap']>[2]) => void,
): Promise<Side> {
  return new Promise((resolve) =>
    start({
      onTransportReady: (socket, tls, protocol) => resolve({ socket, tls, protocol }),
      onTransportFailure: (failure) => resolve({ failure }),
    }),
  );
}

/** Runs one handshake. In TLS 1.3 a client is done before the server has judged it: its side may look fine. */
export async function handshake(
  t: TestContext,
  server: DownstreamTransportSocketFactory,
  client: UpstreamTransportSocketFactory,
  options: UpstreamTransportOptions = noTransportOptions,
  offered?: readonly string[],
  requestedServerName = '',
): Promise<Handshaken> {
  const info = new AcceptedConnectionInfo({ ip: '127.0.0.1', port: 1 }, { ip: '127.0.0.1', port: 2 });
  if (offered !== undefined)
    Object.assign(info, { transportProtocol: 'tls', applicationProtocols: offered, requestedServerName });
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const raw = connect((listener.address() as AddressInfo).port, '127.0.0.1');
  raw.on('error', () => {});
  const accepted = once(listener, 'connection') as Promise<[Socket]>;
  await once(raw, 'connect');
  const [socket] = await accepted;
  socket.on('error', () => {});
  t.after(() => {
    listener.close();
    raw.destroy();
    socket.destroy();
  });
  const [serverSide, clientSide] = await Promise.all([
    side((callbacks) => server.wrap(socket, info, callbacks)),
    side((callbacks) => client.wrap(raw, options, callbacks)),
  ]);
  return { server: serverSide, client: clientSide, info };
}
