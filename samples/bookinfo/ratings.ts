/** Ratings of a book: `GET /ratings/ID`; `POST /ratings/ID` with a JSON object of reviewer to stars replaces them. */
import type { IncomingMessage } from 'node:http';
import { productId, sendJson, serve, serviceOptions } from './service.ts';

type Ratings = Readonly<Record<string, number>>;

/** Most products whose ratings are kept, and longest body that is read, in bytes. */
const maxProducts = 1000;
const maxBodyBytes = 65_536;

const posted = new Map<number, Ratings>();
const initial: Ratings = { Reviewer1: 5, Reviewer2: 4 };

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Stars by reviewer, undefined when the text is something else. */
function parseRatings(text: string | undefined): Ratings | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return Object.values(value).every((stars) => typeof stars === 'number') ? (value as Ratings) : undefined;
  } catch {
    return undefined;
  }
}

serve(serviceOptions('ratings'), async (request, response, url) => {
  const [, first, second] = url.pathname.split('/');
  if (url.pathname === '/health') return sendJson(response, 200, { status: 'Ratings is healthy' });
  if (first !== 'ratings') return sendJson(response, 404, { error: 'not found' });
  const id = productId(second);
  if (id === undefined) return sendJson(response, 400, { error: 'please provide numeric product ID' });
  if (request.method === 'POST') {
    const ratings = parseRatings(await readBody(request));
    if (ratings === undefined) return sendJson(response, 400, { error: 'please provide valid ratings JSON' });
    if (posted.size < maxProducts || posted.has(id)) posted.set(id, ratings);
  }
  sendJson(response, 200, { id, ratings: posted.get(id) ?? initial });
});
