/** How the API server is reached and who we are: what a kubeconfig or the account of a pod comes down to. */

/** Material of one moment; tokens and certificates are renewed while a process runs. */
export interface AccessMaterial {
  /** Bearer token. */
  readonly token?: string;
  /** PEM of the roots that verify the server. Absent: those of the system. */
  readonly ca?: string;
  /** PEM of the client certificate and its key. */
  readonly cert?: string;
  readonly key?: string;
}

/** Access to one API server. */
export interface KubeAccess {
  /** `https://10.96.0.1:443`, without a path at the end. `http:` is for loopback proxies and tests. */
  readonly server: string;
  /** Where it was read, for messages: `kubeconfig /path, context name`. */
  readonly origin: string;
  /** Namespace of the context; `default` when it names none. */
  readonly namespace: string;
  /** Name that the server's certificate is checked against. Default the host of `server`. */
  readonly tlsServerName?: string;
  /** False only when a kubeconfig says insecure-skip-tls-verify. Default true. */
  readonly verify?: boolean;
  /** What is valid now. @throws Error when it cannot be got. */
  material(): Promise<AccessMaterial>;
  /** The server refused what `material` gave last (401): the next call gets it anew. */
  refresh(): void;
}
