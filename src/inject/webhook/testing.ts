/** What tests of the webhook share: a server with a certificate of our authority, a client that trusts it, reviews. */
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { silentLogger } from '#base/log.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { JsonObject } from '../pod/shape.ts';
import { readSettings } from '../settings.ts';
import { WebhookServer, type WebhookServerOptions, type WebhookTls } from './webhook_server.ts';

const serverName = 'istiod.istio-system.svc';

/** An answer, and the certificate that the server showed. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly fingerprint: string;
  readonly reused: boolean;
}

/** A webhook on loopback. */
export interface TestWebhook {
  readonly server: WebhookServer;
  readonly metrics: MetricsRegistry;
  readonly port: number;
  /** Roots that verify the server, PEM. */
  readonly rootPem: string;
  /** One more certificate of the same authority. */
  issue(): Promise<WebhookTls>;
  send(
    body: string | Buffer,
    more?: { path?: string; method?: string; headers?: Record<string, string>; agent?: Agent },
  ): Promise<Answer>;
  /** Value of a counter. */
  count(name: string): number;
  close(): Promise<void>;
}

/** Starts a webhook with built-in settings, or with others. */
export async function startTestWebhook(
  options: Partial<Pick<WebhookServerOptions, 'settings' | 'bounds'>> = {},
): Promise<TestWebhook> {
  const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local', log: silentLogger });
  const issue = async (): Promise<WebhookTls> => {
    const { certChain, privateKey } = await authority.issueServing({ uris: [], dnsNames: [serverName] });
    return { cert: certChain, key: privateKey };
  };
  const { settings: injector, policy } = readSettings({});
  const metrics = new MetricsRegistry();
  const server = new WebhookServer({
    tls: await issue(),
    settings: () => ({ injector, policy }),
    metrics,
    ...options,
  });
  const port = await server.listen('127.0.0.1', 0);
  const own = new Agent({ keepAlive: true, ca: authority.rootPem, servername: serverName });
  return {
    server,
    metrics,
    port,
    rootPem: authority.rootPem,
    issue,
    send: async (body, { path = '/inject', method = 'POST', headers = {}, agent = own } = {}) =>
      await new Promise<Answer>((resolve, reject) => {
        const call = request(
          {
            host: '127.0.0.1',
            port,
            path,
            method,
            agent,
            ca: authority.rootPem,
            servername: serverName,
            headers: { 'content-type': 'application/json', ...headers },
          },
          (response) => {
            const socket = response.socket as TLSSocket;
            const { fingerprint256 } = socket.getPeerCertificate();
            let text = '';
            response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
            response.on('error', reject).on('end', () => {
              const { statusCode: status = 0, headers: answered } = response;
              const reused = call.reusedSocket;
              resolve({ status, headers: answered, text, fingerprint: fingerprint256, reused });
            });
          },
        );
        call.on('error', reject);
        call.end(body);
      }),
    count: (name) =>
      metrics
        .snapshot()
        .find((family) => family.name === name)
        ?.series.reduce((sum, { value }) => sum + value, 0) ?? 0,
    async close() {
      own.destroy();
      await server.close();
      authority.close();
    },
  };
}

/** A small pod, as a Deployment makes it. */
export const smallPod: JsonObject = {
  metadata: { generateName: 'web-6d4cf56db6-', labels: { app: 'web', 'pod-template-hash': '6d4cf56db6' } },
  spec: { containers: [{ name: 'web', image: 'web:1', ports: [{ containerPort: 8080 }] }] },
};

/** The review of a pod that is created, as text. */
export function reviewText(object: unknown, more: JsonObject = {}): string {
  const request = { uid: 'u1', operation: 'CREATE', namespace: 'shop', object, ...more };
  return JSON.stringify({ kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1', request });
}

/** Applies operations of RFC 6902, written apart from the code that makes them. @throws Error when a path does not exist */
export function applyPatch(document: unknown, operations: readonly unknown[]): unknown {
  // The whole document has a parent, so that every place has one.
  const root: { value: unknown } = { value: structuredClone(document) };
  for (const operation of operations) {
    const { op, path, value } = operation as {
      readonly op: string;
      readonly path: string;
      readonly value?: unknown;
    };
    const steps = ['value', ...path.split('/').slice(1)].map((step) =>
      step.replaceAll('~1', '/').replaceAll('~0', '~'),
    );
    const last = steps.pop() ?? '';
    let at: unknown = root;
    for (const step of steps) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) throw new Error(`no ${path}`);
      at = (at as Record<string, unknown>)[step];
    }
    if (typeof at !== 'object' || at === null) throw new Error(`no parent of ${path}`);
    if (Array.isArray(at)) {
      const index = last === '-' ? at.length : Number(last);
      if (!Number.isInteger(index) || index > at.length || (op !== 'add' && index >= at.length))
        throw new Error(`no ${path}`);
      at.splice(index, op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [value]));
      continue;
    }
    if (op !== 'add' && !Object.hasOwn(at, last)) throw new Error(`no ${path}`);
    if (op === 'remove') delete (at as Record<string, unknown>)[last];
    else Object.defineProperty(at, last, { value, enumerable: true, configurable: true, writable: true });
  }
  return root.value;
}
