/**
 * The shared part of both directions (envoy.extensions.transport_sockets.tls.v3.CommonTlsContext): certificates and trust,
 * inline or by SDS, made into one OpenSSL context per version of the secrets. A new version serves the next handshakes;
 * open connections stay as they are.
 */
import { constants } from 'node:crypto';
import { type SecureContext, type SecureContextOptions, createSecureContext } from 'node:tls';
import { toBinary } from '@bufbuild/protobuf';
import {
  type CertificateValidationContext,
  type TlsCertificate,
  CertificateValidationContextSchema,
  type TlsSessionTicketKeys,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import type { DataSource } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { SdsSecretConfig } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import type { CommonTlsContext } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import type { LiveSecret, SecretProvider } from '../../network/secret.ts';
import {
  type CertificatePlace,
  type ContextCertificates,
  trackTlsContext,
  type TlsContextView,
} from '../../network/tls_contexts.ts';
import { type OwnCertificate, certificatesFor, readCertificate } from './certificates.ts';
import { clientContext } from './client_contexts.ts';
import { ClientSessions } from './client_sessions.ts';
import { readDataSource } from './data_source.ts';
import { type PeerValidation, compileValidation, mergeValidation } from './peer_validation.ts';
import { type TicketKey, derivedTicketKey, readTicketKeys, sessionIdentity } from './tickets.ts';
import { setTicketKeys } from './tls_handle.ts';
import type { CertificateNames } from './tls_info.ts';
import { tlsOptions } from './tls_params.ts';

/** What one side shows of itself. */
export interface OwnIdentity {
  readonly context: SecureContext;
  /** Names of the first certificate. */
  readonly names: CertificateNames | undefined;
}

/** What handshakes use. */
export interface TlsMaterial {
  /** Undefined when no validation context is configured: any peer is accepted. */
  readonly validation: PeerValidation | undefined;
  /** Identity of clients, and of servers that were asked for no name. */
  readonly identity: OwnIdentity;
  /** True when the identity depends on the server name. */
  readonly choosesByName: boolean;
  /** @param serverName lower case; empty for none. */
  identityFor(serverName: string): OwnIdentity;
  /** Sessions of clients. */
  readonly sessions: ClientSessions;
}

/** Where keys of session tickets come from (DownstreamTlsContext.session_ticket_keys_type). */
export type TicketSource =
  | { readonly kind: 'derived' }
  | { readonly kind: 'none' }
  | { readonly kind: 'inline'; readonly keys: TlsSessionTicketKeys }
  | { readonly kind: 'sds'; readonly sds: SdsSecretConfig };

/** What the two directions add. */
export type TlsRole =
  | {
      readonly side: 'server';
      readonly requireCertificate: boolean;
      readonly tickets: TicketSource;
      /** Life of a session, seconds; undefined for OpenSSL's two hours. */
      readonly sessionTimeoutSeconds: number | undefined;
      readonly preferClientCiphers: boolean;
    }
  | { readonly side: 'client'; readonly sessionsPerPlace: number };

/** Where a certificate stands; files are not read for a report. */
function placeOf(source: DataSource | undefined): CertificatePlace {
  switch (source?.specifier.case) {
    case 'inlineBytes':
      return { pem: Buffer.from(source.specifier.value).toString('utf8'), path: '' };
    case 'inlineString':
      return { pem: source.specifier.value, path: '' };
    case 'filename':
      return { pem: '', path: source.specifier.value };
    default:
      return { pem: '', path: '' };
  }
}

/** Owns subscriptions to secrets. */
export class TlsContextSource implements TlsContextView {
  readonly #config: CommonTlsContext;
  readonly #role: TlsRole;
  readonly #certificates: LiveSecret[] = [];
  #validationSecret: LiveSecret | undefined;
  #ticketSecret: LiveSecret | undefined;
  #inlineValidation: CertificateValidationContext | undefined;
  #material: TlsMaterial | undefined;
  /** Why the newest secrets cannot be used; the material before them stays. */
  problem: string | undefined = undefined;
  #stale = true;
  #onReady: (() => void)[] = [];
  #wasReady = false;
  readonly #untrack: () => void;

  /** @throws Error when inline material is bad or the configuration asks for what is not there. */
  constructor(config: CommonTlsContext, role: TlsRole, secrets: SecretProvider) {
    this.#config = config;
    this.#role = role;
    const onChange = (): void => {
      this.#stale = true;
      this.#announce();
    };
    const subscribe = (sds: SdsSecretConfig): LiveSecret => secrets.get(sds.name, sds.sdsConfig, onChange);
    const { validationContextType: validation } = config;
    if (config.customHandshaker !== undefined) throw new Error('custom_handshaker is not implemented');
    if (config.customTlsCertificateSelector !== undefined)
      throw new Error('custom_tls_certificate_selector is not implemented');
    if (config.tlsCertificateProviderInstance !== undefined)
      throw new Error('tls_certificate_provider_instance is not implemented');
    if (config.keyLog !== undefined) throw new Error('key_log is not implemented: keys are never written');
    switch (validation.case) {
      case undefined:
        break;
      case 'validationContext':
        this.#inlineValidation = validation.value;
        break;
      case 'validationContextSdsSecretConfig':
        this.#validationSecret = subscribe(validation.value);
        break;
      case 'combinedValidationContext':
        this.#inlineValidation = validation.value.defaultValidationContext;
        if (validation.value.validationContextSdsSecretConfig !== undefined)
          this.#validationSecret = subscribe(validation.value.validationContextSdsSecretConfig);
        break;
      default:
        throw new Error(`${validation.case}: certificate providers are not implemented`);
    }
    for (const sds of config.tlsCertificateSdsSecretConfigs) this.#certificates.push(subscribe(sds));
    if (role.side === 'server' && role.tickets.kind === 'sds')
      this.#ticketSecret = subscribe(role.tickets.sds);
    // Bad inline material is an error of the configuration, not of the first connection.
    if (
      this.#validationSecret === undefined &&
      this.#ticketSecret === undefined &&
      this.#certificates.length === 0
    ) {
      this.#material = this.#build();
      this.#stale = false;
    } else if (this.#inlineValidation !== undefined) compileValidation(this.#inlineValidation);
    this.#wasReady = this.ready;
    this.#untrack = trackTlsContext(this);
  }

  /** All secrets were delivered once. */
  get ready(): boolean {
    return (
      this.#certificates.every((secret) => secret.current !== undefined) &&
      (this.#validationSecret === undefined || this.#validationSecret.current !== undefined) &&
      (this.#ticketSecret === undefined || this.#ticketSecret.current !== undefined)
    );
  }

  onReady(callback: () => void): void {
    if (this.ready) callback();
    else this.#onReady.push(callback);
  }

  #announce(): void {
    if (this.#wasReady || !this.ready) return;
    this.#wasReady = true;
    const callbacks = this.#onReady;
    this.#onReady = [];
    for (const callback of callbacks) callback();
  }

  /** Material of the newest good secrets; undefined until there are some. */
  get material(): TlsMaterial | undefined {
    if (this.#stale && this.ready) {
      this.#stale = false;
      try {
        this.#material = this.#build();
        this.problem = undefined;
      } catch (error) {
        // A broken rotation must not take a working identity away.
        this.problem = (error as Error).message;
      }
    }
    return this.#material;
  }

  /** @throws Error when a secret is of another kind. */
  #ownCertificates(): TlsCertificate[] {
    return [
      ...this.#config.tlsCertificates,
      ...this.#certificates.map((secret) => {
        const type = secret.current?.type;
        if (type?.case !== 'tlsCertificate') throw new Error('the secret holds no tls_certificate');
        return type.value;
      }),
    ];
  }

  /** @throws Error when the secret is of another kind. */
  #validationContext(): CertificateValidationContext | undefined {
    const secretType = this.#validationSecret?.current?.type;
    if (secretType !== undefined && secretType.case !== 'validationContext')
      throw new Error('the secret holds no validation_context');
    return mergeValidation(this.#inlineValidation, secretType?.value);
  }

  certificates(): ContextCertificates | undefined {
    if (this.material === undefined) return undefined;
    const ca = this.#validationContext()?.trustedCa;
    return {
      ca: ca === undefined ? undefined : placeOf(ca),
      chains: this.#ownCertificates().map(({ certificateChain }) => placeOf(certificateChain)),
    };
  }

  #build(): TlsMaterial {
    const certificates = this.#ownCertificates().map(readCertificate);
    const proto = this.#validationContext();
    const validation = proto === undefined ? undefined : compileValidation(proto);
    const role = this.#role;
    if (role.side === 'server' && certificates.length === 0)
      throw new Error('a TLS listener needs a certificate');
    const options: SecureContextOptions = {
      ...tlsOptions(this.#config.tlsParams),
      // An empty list in place of the roots that Node ships: who configures no trust trusts nobody by default.
      ca: validation?.trustedCa ?? (proto?.systemRootCerts === undefined ? [] : undefined),
      ...(validation?.crl === undefined ? {} : { crl: validation.crl }),
      honorCipherOrder: role.side === 'client' || !role.preferClientCiphers,
    };
    const keys = this.#ticketKeys(certificates, proto, validation);
    if (role.side === 'server') Object.assign(options, serverOptions(role, keys));
    const byCertificates = new Map<string, OwnIdentity>();
    const identityFor = (serverName: string): OwnIdentity => {
      const chosen = certificatesFor(certificates, serverName);
      const key = chosen.map((entry) => certificates.indexOf(entry)).join(' ');
      let identity = byCertificates.get(key);
      if (identity === undefined) {
        const whole = withCertificates(options, chosen);
        const context = role.side === 'client' ? clientContext(whole) : createSecureContext(whole);
        identity = { context, names: chosen[0]?.names };
        if (keys.list.length > 1) setTicketKeys(identity.context, keys.list);
        byCertificates.set(key, identity);
      }
      return identity;
    };
    // All at once: a bad certificate is an error now, not when somebody asks for its name.
    const identity = identityFor('');
    if (role.side === 'server')
      for (const { serverNames } of certificates) for (const name of serverNames) identityFor(name);
    return {
      validation,
      identity,
      choosesByName: byCertificates.size > 1,
      identityFor,
      sessions: new ClientSessions(
        role.side === 'client' && validation?.resumable !== false ? role.sessionsPerPlace : 0,
      ),
    };
  }

  /** Keys of session tickets, none when there shall be no tickets, and what sessions are bound to. */
  #ticketKeys(
    certificates: readonly OwnCertificate[],
    proto: CertificateValidationContext | undefined,
    validation: PeerValidation | undefined,
  ): ServerSessions {
    const role = this.#role;
    if (role.side === 'client') return { identity: Buffer.alloc(0), list: [] };
    const identity = sessionIdentity([
      role.requireCertificate ? 'required' : 'optional',
      proto === undefined ? 'any' : toBinary(CertificateValidationContextSchema, proto),
      validation?.trustedCa ?? '',
      validation?.crl ?? '',
      ...certificates.map(({ cert }) => cert),
    ]);
    if (role.tickets.kind === 'none' || validation?.resumable === false) return { identity, list: [] };
    let message: TlsSessionTicketKeys | undefined;
    if (role.tickets.kind === 'inline') message = role.tickets.keys;
    else if (this.#ticketSecret !== undefined) {
      const type = this.#ticketSecret.current?.type;
      if (type?.case !== 'sessionTicketKeys') throw new Error('the secret holds no session_ticket_keys');
      message = type.value;
    }
    const list =
      message === undefined
        ? [derivedTicketKey(identity)]
        : readTicketKeys(message.keys.map((key) => readDataSource(key)));
    return { identity, list };
  }

  close(): void {
    this.#untrack();
    for (const secret of this.#certificates) secret.close();
    this.#validationSecret?.close();
    this.#ticketSecret?.close();
    this.#onReady = [];
  }
}

interface ServerSessions {
  readonly identity: Buffer;
  readonly list: readonly TicketKey[];
}

function serverOptions(
  role: Extract<TlsRole, { readonly side: 'server' }>,
  { identity, list }: ServerSessions,
): SecureContextOptions {
  const [first] = list;
  const seconds = role.sessionTimeoutSeconds;
  return {
    // Without it OpenSSL breaks off the handshake of every client that asks to resume and may show a certificate.
    sessionIdContext: identity.toString('hex', 0, 16),
    ...(seconds === undefined || seconds === 0 ? {} : { sessionTimeout: seconds }),
    ...(first === undefined
      ? { secureOptions: constants.SSL_OP_NO_TICKET }
      : { ticketKeys: Buffer.concat([first.name, first.hmac, first.aes]) }),
  };
}

function withCertificates(
  options: SecureContextOptions,
  certificates: readonly OwnCertificate[],
): SecureContextOptions {
  if (certificates.length === 0) return options;
  return {
    ...options,
    cert: certificates.map(({ cert }) => cert),
    key: certificates.map(({ key, passphrase }) =>
      passphrase === undefined ? key : { pem: key, passphrase },
    ) as Buffer[],
  };
}
