/** Cookies that the proxy makes (RFC 6265 section 4.1, envoy Http::Utility::makeSetCookieValue). */

/**
 * What follows the value in `set-cookie`: age, path, attributes, `HttpOnly`.
 * @param ttlMs lifetime in milliseconds; under a second the cookie goes with the session
 * @param path empty for none
 * @param attributes an empty value means a name alone (`Secure`)
 */
export function cookieSuffix(
  ttlMs: number,
  path: string,
  attributes: readonly { readonly name: string; readonly value: string }[],
): string {
  const seconds = Math.floor(ttlMs / 1000);
  const maxAge = seconds > 0 ? `; Max-Age=${seconds}` : '';
  const rest = attributes.map(({ name, value }) => (value === '' ? `; ${name}` : `; ${name}=${value}`));
  return `${maxAge}${path === '' ? '' : `; Path=${path}`}${rest.join('')}; HttpOnly`;
}
