/** PEM text (RFC 7468): blocks in, blocks out. */

/** Most bytes of PEM text that are read. */
export const maxPemBytes = 1024 * 1024;

/** Most blocks in one text. */
export const maxPemBlocks = 1000;

const blockPattern = /-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]{0,200000}?)-----END \1-----/g;

/** The DER bytes of all blocks of one label, in order; text around blocks is skipped. */
export function readPemBlocks(text: string, label: string): Buffer[] {
  if (text.length > maxPemBytes) return [];
  const blocks: Buffer[] = [];
  for (const match of text.matchAll(blockPattern)) {
    if (match[1] === label) blocks.push(Buffer.from(match[2] ?? '', 'base64'));
    if (blocks.length > maxPemBlocks) return [];
  }
  return blocks;
}

/** One block of PEM text with 64 characters a line and a newline at its end. */
export function writePem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The certificates of a bundle, each as its own PEM text. */
export function splitCertificates(bundle: string): string[] {
  return readPemBlocks(bundle, 'CERTIFICATE').map((bytes) => writePem('CERTIFICATE', bytes));
}
