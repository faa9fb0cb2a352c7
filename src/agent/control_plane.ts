/** Connections to the control plane and the authority: TLS by a root file, token or client certificate. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { GrpcClient, type GrpcAddress, type GrpcMetadata, type GrpcTls } from '#xds/grpc_client.ts';
import type { WorkloadIdentity } from './secrets/workload_identity.ts';

export interface ControlPlaneOptions {
  /** `host:port`; IPv6 in brackets. */
  readonly address: string;
  /** Absent: plaintext, without credentials. */
  readonly tls?: {
    readonly rootCertPath: string;
    /** Name in the server's certificate. Default the host of the address. */
    readonly serverName?: string;
  };
  /** Read before each call; when it is not there the identity's certificate speaks for the agent. */
  readonly tokenPath?: string;
  /** The identity in use, if any. */
  readonly identity?: () => WorkloadIdentity | undefined;
}

/** Most bytes of a token file. */
const maxTokenBytes = 64 * 1024;

/**
 * Host and port of `host:port` or `[address]:port`.
 * @throws Error when it is of another form
 */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) throw new Error(`${JSON.stringify(text)} is not host:port`);
  return { host, port };
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    const token = (await readFile(path, 'utf8')).trim();
    return token === '' || token.length > maxTokenBytes ? undefined : token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * A gRPC client whose credentials are read anew: the token for each call, roots and certificate for each connection. A
 * call whose credentials differ from those of the open connection gets a connection of its own.
 */
export function connectControlPlane(options: ControlPlaneOptions): GrpcClient {
  const address: GrpcAddress = parseAddress(options.address);
  const { tls, tokenPath } = options;
  if (tls === undefined) return new GrpcClient({ address });
  /** Serial number of the certificate that speaks for the agent, empty while a token does. */
  let speaker: string | undefined;
  let identity: WorkloadIdentity | undefined;
  const client = new GrpcClient({
    address,
    tls: (): GrpcTls => ({
      ca: readFileSync(tls.rootCertPath, 'utf8'),
      ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
      ...(identity === undefined ? {} : { cert: identity.certChain, key: identity.privateKey }),
    }),
    metadata: async (): Promise<GrpcMetadata> => {
      const token = tokenPath === undefined ? undefined : await readToken(tokenPath);
      const held = token === undefined ? options.identity?.() : undefined;
      identity = held !== undefined && held.notAfterMs > Date.now() ? held : undefined;
      const next = identity?.serialNumber ?? '';
      if (speaker !== undefined && speaker !== next) client.rotate();
      speaker = next;
      return token === undefined ? {} : { authorization: `Bearer ${token}` };
    },
  });
  return client;
}
