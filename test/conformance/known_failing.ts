/**
 * Conformance cases that fail: `<feature>/<case>/<data plane>` and why. Held both ways: a listed case that passes fails the
 * run. An entry of `envoy` is a case where Envoy does not do what Istio documents.
 */
export const knownFailing: Readonly<Record<string, string>> = {};
