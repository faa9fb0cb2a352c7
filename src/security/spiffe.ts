/**
 * Workload identities as SPIFFE IDs in Istio's form, `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`
 * (SPIFFE-ID standard, section 2). Strict: what is not exactly of this form is no identity.
 */

/** The parts of an identity. */
export interface SpiffeIdentity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Longest SPIFFE ID in bytes (SPIFFE-ID standard, section 2.3). */
export const maxSpiffeIdBytes = 2048;

/** Longest trust domain in characters (SPIFFE-ID standard, section 2.1). */
export const maxTrustDomainChars = 255;

const trustDomainPattern = /^[a-z0-9._-]+$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;

function isSegment(text: string): boolean {
  return segmentPattern.test(text) && text !== '.' && text !== '..';
}

/** Whether the text may stand as a trust domain: 1 to 255 of `a-z 0-9 . - _`. */
export function isTrustDomain(text: string): boolean {
  return text.length <= maxTrustDomainChars && trustDomainPattern.test(text);
}

/** The parts of an identity, or undefined when the text is not exactly of Istio's form. */
export function parseSpiffe(uri: string): SpiffeIdentity | undefined {
  if (uri.length > maxSpiffeIdBytes || !uri.startsWith('spiffe://')) return undefined;
  const [trustDomain = '', ns, namespace = '', sa, serviceAccount = '', ...rest] = uri.slice(9).split('/');
  if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined;
  if (!isTrustDomain(trustDomain) || !isSegment(namespace) || !isSegment(serviceAccount)) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

/**
 * The SPIFFE ID of an identity.
 * @throws RangeError when a part holds characters that a SPIFFE ID must not hold.
 */
export function formatSpiffe(identity: SpiffeIdentity): string {
  const { trustDomain, namespace, serviceAccount } = identity;
  const uri = `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
  if (parseSpiffe(uri) === undefined) {
    throw new RangeError(
      `not a SPIFFE identity: trust domain ${JSON.stringify(trustDomain)}, namespace ` +
        `${JSON.stringify(namespace)}, service account ${JSON.stringify(serviceAccount)}`,
    );
  }
  return uri;
}
