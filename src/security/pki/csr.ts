/** Certificate signing requests (PKCS #10, RFC 2986): made by agents, read by the authority. */
import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  contextTag,
  DerError,
  DerReader,
  encode,
  bitString,
  objectIdentifier,
  readBitString,
  readObjectIdentifier,
  sequence,
  tag,
  unsignedInteger,
} from './der.ts';
import { readGeneralNameUris, subjectAltName } from './extensions.ts';
import {
  publicKeyDer,
  publicKeyProblem,
  signatureAlgorithmDer,
  signDer,
  verifyDer,
  type KeyPair,
} from './keys.ts';
import { oid } from './oids.ts';
import { readPemBlocks, writePem } from './pem.ts';

/** Longest request in bytes of DER. */
export const maxCsrBytes = 64 * 1024;

/** A request that is malformed, wrongly signed, or for a key that is not accepted. */
export class CsrError extends Error {
  override name = 'CsrError';
}

/** What a request asks for. The URIs are the asker's wish: an authority certifies only what it has authenticated. */
export interface CertificateRequest {
  readonly publicKey: KeyObject;
  readonly uris: readonly string[];
}

/** Makes a request with an empty subject and URI subject alternative names. Returns PEM. */
export function createCsr(keys: KeyPair, uris: readonly string[]): string {
  const extensions = sequence(subjectAltName(uris, true));
  const attribute = sequence(objectIdentifier(oid.extensionRequest), encode(tag.set, extensions));
  const info = sequence(
    unsignedInteger(Buffer.from([0])),
    sequence(),
    publicKeyDer(keys.publicKey),
    encode(contextTag(0, true), attribute),
  );
  const request = sequence(
    info,
    signatureAlgorithmDer(keys.privateKey),
    bitString(signDer(keys.privateKey, info)),
  );
  return writePem('CERTIFICATE REQUEST', request);
}

/**
 * Reads a PEM request and verifies that its sender holds the private key.
 * @throws CsrError
 */
export function parseCsr(pem: string): CertificateRequest {
  const blocks = [
    ...readPemBlocks(pem, 'CERTIFICATE REQUEST'),
    ...readPemBlocks(pem, 'NEW CERTIFICATE REQUEST'),
  ];
  const [bytes] = blocks;
  if (bytes === undefined || blocks.length > 1) throw new CsrError('not one PEM block CERTIFICATE REQUEST');
  if (bytes.length > maxCsrBytes) throw new CsrError(`request of more than ${maxCsrBytes} bytes`);
  try {
    return readRequest(bytes);
  } catch (error) {
    if (error instanceof CsrError) throw error;
    if (error instanceof DerError)
      throw new CsrError(`malformed request: ${error.message}`, { cause: error });
    throw new CsrError('the public key or the signature cannot be read', { cause: error });
  }
}

function readRequest(bytes: Buffer): CertificateRequest {
  const outer = new DerReader(bytes);
  const request = outer.enter(tag.sequence);
  outer.end();
  const info = request.read(tag.sequence);
  const algorithm = request.enter(tag.sequence);
  const signature = readBitString(request.read(tag.bitString).content);
  request.end();

  const fields = new DerReader(info.content);
  const version = fields.read(tag.integer).content;
  if (version.length !== 1 || version[0] !== 0) throw new CsrError('request version is not 0');
  fields.read(tag.sequence);
  const publicKey = createPublicKey({ key: fields.read(tag.sequence).raw, format: 'der', type: 'spki' });
  const problem = publicKeyProblem(publicKey);
  if (problem !== undefined) throw new CsrError(problem);
  const attributes = fields.nextTag === undefined ? undefined : fields.enter(contextTag(0, true));
  fields.end();

  const algorithmOid = readObjectIdentifier(algorithm.read(tag.oid).content);
  if (!verifyDer(algorithmOid, publicKey, info.raw, signature)) {
    throw new CsrError(`the signature (${algorithmOid}) is not by the key of the request`);
  }
  return { publicKey, uris: attributes === undefined ? [] : readRequestedUris(attributes) };
}

function readRequestedUris(attributes: DerReader): string[] {
  const uris: string[] = [];
  while (!attributes.done) {
    const attribute = attributes.enter(tag.sequence);
    const type = readObjectIdentifier(attribute.read(tag.oid).content);
    const values = attribute.enter(tag.set);
    if (type !== oid.extensionRequest) continue;
    const extensions = values.enter(tag.sequence);
    while (!extensions.done) {
      const extension = extensions.enter(tag.sequence);
      const id = readObjectIdentifier(extension.read(tag.oid).content);
      if (extension.nextTag === tag.boolean) extension.read();
      const value = extension.read(tag.octetString).content;
      if (id === oid.subjectAltName) uris.push(...readGeneralNameUris(value));
    }
  }
  return uris;
}
