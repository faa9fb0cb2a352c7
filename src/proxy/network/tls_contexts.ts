/** TLS contexts that live in this worker, for `/certs`: each listener chain and each cluster with TLS has one. */

/** Where a certificate stands: PEM of what is public, or the file it is read from. The other one is empty. */
export interface CertificatePlace {
  readonly pem: string;
  readonly path: string;
}

/** What one context holds, private keys apart. */
export interface ContextCertificates {
  /** Roots that peers are checked against; undefined without. */
  readonly ca: CertificatePlace | undefined;
  readonly chains: readonly CertificatePlace[];
}

/** A context as `/certs` sees it. */
export interface TlsContextView {
  /** Undefined until its secrets are there. */
  certificates(): ContextCertificates | undefined;
}

const contexts = new Set<WeakRef<TlsContextView>>();

/** Puts a context on the list; the result takes it off. One that is forgotten leaves by itself. */
export function trackTlsContext(context: TlsContextView): () => void {
  const entry = new WeakRef(context);
  contexts.add(entry);
  return () => void contexts.delete(entry);
}

/** All contexts of this worker. */
export function liveCertificates(): ContextCertificates[] {
  const found: ContextCertificates[] = [];
  for (const entry of contexts) {
    const context = entry.deref();
    if (context === undefined) contexts.delete(entry);
    const certificates = context?.certificates();
    if (certificates !== undefined) found.push(certificates);
  }
  return found;
}
