/**
 * The shared part of both directions (envoy.extensions.transport_sockets.tls.v3.CommonTlsContext): certificates and trust,
 * inline or by SDS, made into one OpenSSL context per version of the secrets. A new version serves the next handshakes;
 * open connections stay as they are.
 */
import { X509Certificate } from 'node:crypto';
import { type SecureContext, createSecureContext } from 'node:tls';
import type {
  CertificateValidationContext,
  TlsCertificate,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts';
import type { SdsSecretConfig } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import type { CommonTlsContext } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import type { LiveSecret, SecretProvider } from '../../network/secret.ts';
import { readDataSource } from './data_source.ts';
import { type PeerValidation, compileValidation, mergeValidation } from './peer_validation.ts';
import { type CertificateNames, certificateNames } from './tls_info.ts';
import { tlsOptions } from './tls_params.ts';

/** What one handshake uses. */
export interface TlsMaterial {
  readonly context: SecureContext;
  /** Undefined when no validation context is configured: any peer is accepted. */
  readonly validation: PeerValidation | undefined;
  /** Names of our own first certificate. */
  readonly local: CertificateNames | undefined;
}

function certificateOptions(proto: TlsCertificate): { cert: Buffer; key: Buffer; passphrase?: string } {
  const cert = readDataSource(proto.certificateChain);
  const key = readDataSource(proto.privateKey);
  if (cert === undefined || key === undefined)
    throw new Error(
      'tls_certificate needs certificate_chain and private_key (pkcs12 and key providers are not implemented)',
    );
  const passphrase = readDataSource(proto.password)?.toString();
  return passphrase === undefined ? { cert, key } : { cert, key, passphrase };
}

/** Owns subscriptions to secrets. */
export class TlsContextSource {
  readonly #config: CommonTlsContext;
  readonly #server: boolean;
  readonly #certificates: LiveSecret[] = [];
  #validationSecret: LiveSecret | undefined;
  #inlineValidation: CertificateValidationContext | undefined;
  #material: TlsMaterial | undefined;
  /** Why the newest secrets cannot be used; the material before them stays. */
  problem: string | undefined = undefined;
  #stale = true;
  #onReady: (() => void)[] = [];
  #wasReady = false;

  /** @throws Error when inline material is bad or the configuration asks for what is not there. */
  constructor(config: CommonTlsContext, server: boolean, secrets: SecretProvider) {
    this.#config = config;
    this.#server = server;
    const onChange = (): void => {
      this.#stale = true;
      this.#announce();
    };
    const subscribe = (sds: SdsSecretConfig): LiveSecret => secrets.get(sds.name, sds.sdsConfig, onChange);
    const { validationContextType: validation } = config;
    if (config.customHandshaker !== undefined) throw new Error('custom_handshaker is not implemented');
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
    // Bad inline material is an error of the configuration, not of the first connection.
    if (this.#validationSecret === undefined && this.#certificates.length === 0) {
      this.#material = this.#build();
      this.#stale = false;
    } else if (this.#inlineValidation !== undefined) compileValidation(this.#inlineValidation);
    this.#wasReady = this.ready;
  }

  /** All secrets were delivered once. */
  get ready(): boolean {
    return (
      this.#certificates.every((secret) => secret.current !== undefined) &&
      (this.#validationSecret === undefined || this.#validationSecret.current !== undefined)
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

  #build(): TlsMaterial {
    const inline = this.#config.tlsCertificates;
    const certificates = [
      ...inline,
      ...this.#certificates.map((secret) => {
        const type = secret.current?.type;
        if (type?.case !== 'tlsCertificate') throw new Error('the secret holds no tls_certificate');
        return type.value;
      }),
    ].map(certificateOptions);
    const secretType = this.#validationSecret?.current?.type;
    if (secretType !== undefined && secretType.case !== 'validationContext')
      throw new Error('the secret holds no validation_context');
    const proto = mergeValidation(this.#inlineValidation, secretType?.value);
    const validation = proto === undefined ? undefined : compileValidation(proto);
    if (this.#server && certificates.length === 0) throw new Error('a TLS listener needs a certificate');
    const passphrase = certificates.find((entry) => entry.passphrase !== undefined)?.passphrase;
    const context = createSecureContext({
      ...tlsOptions(this.#config.tlsParams),
      ...(certificates.length === 0
        ? {}
        : { cert: certificates.map((entry) => entry.cert), key: certificates.map((entry) => entry.key) }),
      ...(passphrase === undefined ? {} : { passphrase }),
      // An empty list in place of the roots that Node ships: who configures no trust trusts nobody by default.
      ca: validation?.trustedCa ?? (proto?.systemRootCerts === undefined ? [] : undefined),
      ...(validation?.crl === undefined ? {} : { crl: validation.crl }),
      honorCipherOrder: true,
    });
    const first = certificates[0]?.cert;
    const local = first === undefined ? undefined : certificateNames(new X509Certificate(first));
    return { context, validation, local };
  }

  close(): void {
    for (const secret of this.#certificates) secret.close();
    this.#validationSecret?.close();
    this.#onReady = [];
  }
}
