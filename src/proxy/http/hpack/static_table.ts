/** The static table of RFC 7541 appendix A. */
import { internName, type HeaderName } from '../header_names.ts';
import { HeaderField, pseudoNames } from './field.ts';

const entries: readonly string[] = [
  ':authority',
  ':method GET',
  ':method POST',
  ':path /',
  ':path /index.html',
  ':scheme http',
  ':scheme https',
  ':status 200',
  ':status 204',
  ':status 206',
  ':status 304',
  ':status 400',
  ':status 404',
  ':status 500',
  'accept-charset',
  'accept-encoding gzip, deflate',
  'accept-language',
  'accept-ranges',
  'accept',
  'access-control-allow-origin',
  'age',
  'allow',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'referer',
  'refresh',
  'retry-after',
  'server',
  'set-cookie',
  'strict-transport-security',
  'transfer-encoding',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
];

/** Index of the last static entry; dynamic entries follow. */
export const staticCount = 61;

function nameOf(text: string): HeaderName {
  const pseudo = pseudoNames.get(text);
  if (pseudo !== undefined) return pseudo;
  const bytes = Buffer.from(text, 'latin1');
  let hash = 0;
  for (const byte of bytes) hash = (Math.imul(hash, 31) + byte) | 0;
  return internName(bytes, 0, bytes.length, hash);
}

/** By index, 1 to 61; entry 0 repeats the first one and is never asked for. */
export const staticTable: readonly HeaderField[] = [':authority', ...entries].map((entry) => {
  const space = entry.indexOf(' ');
  const name = nameOf(space < 0 ? entry : entry.slice(0, space));
  return new HeaderField(name, space < 0 ? '' : entry.slice(space + 1), name.flag);
});

/** Lowest index of each name. */
export const staticNames: ReadonlyMap<string, number> = new Map(
  staticTable
    .map((field, index): [string, number] => [field.name.name, index])
    .toReversed()
    .filter(([, index]) => index > 0),
);
