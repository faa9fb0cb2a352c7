/** Secrets by the names that configuration refers to. */

/** Key and certificates of a workload, PEM. */
export interface KeyCertSecret {
  readonly kind: 'key_cert';
  /** Leaf first, then intermediates. */
  readonly certChain: string;
  readonly privateKey: string;
}

/** Roots that verify peers, PEM. */
export interface RootsSecret {
  readonly kind: 'roots';
  readonly roots: string;
}

export type SecretSnapshot = KeyCertSecret | RootsSecret;

/** Where secrets come from. Snapshots are immutable. */
export interface SecretSource {
  /** The secret, or undefined while it is not there (yet). */
  get(name: string): SecretSnapshot | undefined;
  /** Hears the names of secrets that are new or changed. Returns a function that ends the subscription. */
  subscribe(listener: (names: readonly string[]) => void): () => void;
  /** Somebody asks for the name: a source that reads files begins to watch them. */
  request?(name: string): void;
}

/** Name of the workload's own key and certificate (Istio). */
export const defaultSecretName = 'default';

/** Name of the mesh's roots (Istio). */
export const rootSecretName = 'ROOTCA';
