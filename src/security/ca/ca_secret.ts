/**
 * The Secrets that keep an authority in a cluster: `cacerts`, which an operator brings, or else `istio-ca-secret`, which
 * we make. Their keys are the file names of a directory.
 */
import { type Logger, silentLogger } from '#base/log.ts';
import type { KubeClient } from '#kube/client.ts';
import { hasStatus } from '#kube/kube_error.ts';
import { type KubeObject, apiResources } from '#kube/object.ts';
import { type CaFiles, type CaKeeper, caFileNames } from './ca_directory.ts';

/** Secret of an authority that an operator brings (Istio's plug-in CA). */
export const plugInSecret = 'cacerts';
/** Secret of a root that we made ourselves. */
export const selfSignedSecret = 'istio-ca-secret';

/** Where the Secrets are. */
export interface CaSecretOptions {
  readonly client: KubeClient;
  /** Of the control plane. */
  readonly namespace: string;
  /** Whether this control plane may renew the root: of several only the leader does. */
  readonly mayReplace: () => boolean;
  readonly log?: Logger;
}

interface Secret extends KubeObject {
  readonly type?: string;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}

type Part = keyof typeof caFileNames;

function readPart(secret: Secret, part: Part): string | undefined {
  const data = secret.data?.[caFileNames[part]];
  return data === undefined || data === '' ? undefined : Buffer.from(data, 'base64').toString('utf8');
}

function readSecret(secret: Secret): CaFiles {
  const certificate = readPart(secret, 'certificate');
  const privateKey = readPart(secret, 'privateKey');
  if (certificate === undefined || privateKey === undefined) {
    const missing = caFileNames[certificate === undefined ? 'certificate' : 'privateKey'];
    throw new Error(`Secret ${secret.metadata.namespace}/${secret.metadata.name}: ${missing} is missing`);
  }
  // Istio's own istio-ca-secret has an empty chain, and in old versions no root beside the certificate.
  const root = readPart(secret, 'root') ?? certificate;
  return { certificate, privateKey, root, chain: readPart(secret, 'chain') ?? certificate };
}

function encode(files: CaFiles): Record<string, string> {
  const data: Record<string, string> = {};
  for (const part of Object.keys(caFileNames) as Part[])
    data[caFileNames[part]] = Buffer.from(files[part]).toString('base64');
  return data;
}

/**
 * Keeps the authority in a cluster. Which of the two Secrets counts is decided at the first read and stays: a root must
 * not change under a running mesh because a Secret came or went.
 */
export function secretKeeper(options: CaSecretOptions): CaKeeper {
  const { client, namespace, mayReplace } = options;
  const log = (options.log ?? silentLogger).scope('ca');
  let chosen: string | undefined;
  let last: Secret | undefined;

  const find = (name: string): Promise<Secret | undefined> =>
    client.find<Secret>(apiResources.secrets, namespace, name);

  async function read(): Promise<CaFiles | undefined> {
    if (chosen === undefined) {
      const plugIn = await find(plugInSecret);
      chosen = plugIn === undefined ? selfSignedSecret : plugInSecret;
      log.info('the authority is kept in a Secret', { secret: `${namespace}/${chosen}` });
    }
    last = await find(chosen);
    return last === undefined ? undefined : readSecret(last);
  }

  return {
    read,
    async create(files) {
      if (chosen === plugInSecret) throw new Error(`Secret ${namespace}/${plugInSecret} has gone`);
      try {
        last = await client.create<Secret>(apiResources.secrets, namespace, {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: selfSignedSecret, namespace },
          type: 'istio.io/ca-root',
          data: encode(files),
        });
        return files;
      } catch (error) {
        if (!hasStatus(error, 409)) throw error;
      }
      // Another control plane started at the same time and was faster.
      const kept = await read();
      if (kept === undefined) throw new Error(`Secret ${namespace}/${selfSignedSecret} comes and goes`);
      return kept;
    },
    async replace(files) {
      if (chosen === plugInSecret || last === undefined || !mayReplace()) return false;
      try {
        last = await client.update<Secret>(apiResources.secrets, {
          ...last,
          data: { ...last.data, ...encode(files) },
        });
        return true;
      } catch (error) {
        if (hasStatus(error, 409) || hasStatus(error, 404)) return false;
        throw error;
      }
    },
  };
}
