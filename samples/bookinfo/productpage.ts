/** The page of a book, made of details and reviews, and the same as JSON below `/api/v1/products`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Part, indexPage, productPage } from './page.ts';
import {
  type Answer,
  carry,
  getJson,
  productId,
  sendJson,
  serve,
  serviceOptions,
  serviceUrl,
} from './service.ts';

const timeoutMs = 3_000;
/** Ratings may be as slow as the fault injection example makes them. */
const ratingsTimeoutMs = 10_000;
/** Longest login form that is read, in bytes. */
const maxFormBytes = 4096;

const products = [
  {
    id: 0,
    title: 'The Comedy of Errors',
    descriptionHtml:
      '<a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">Wikipedia Summary</a>: The Comedy of Errors is one of <b>William Shakespeare\'s</b> early plays. It is his shortest and one of his most farcical comedies, with a major part of the humour coming from slapstick and mistaken identity, in addition to puns and word play.',
  },
];

/** The person who is logged in: any name is believed, as this is a sample. */
function userOf(request: IncomingMessage): string {
  const found = /(?:^|;\s*)session=([^;]*)/.exec(request.headers.cookie ?? '');
  try {
    return decodeURIComponent(found?.[1] ?? '');
  } catch {
    return '';
  }
}

/** Headers for the services behind: those that came, and `end-user` of the session. */
function forwardHeaders(request: IncomingMessage): Record<string, string> {
  const headers = carry(request.headers);
  const user = userOf(request);
  // A header takes ASCII only; routing by user compares plain names.
  if (user !== '' && /^[\x20-\x7e]+$/.test(user)) headers['end-user'] = user;
  return headers;
}

const unavailable: Readonly<Record<string, string>> = {
  details: 'Sorry, product details are currently unavailable for this book.',
  reviews: 'Sorry, product reviews are currently unavailable for this book.',
  ratings: 'Sorry, product ratings are currently unavailable for this book.',
};

function part(service: 'details' | 'reviews' | 'ratings', { status, body }: Answer): Part {
  if (status === 200) return { status, body };
  return { status: status === 0 ? 500 : status, body: { error: unavailable[service] } };
}

async function details(id: number, headers: Record<string, string>): Promise<Part> {
  return part('details', await getJson(`${serviceUrl('details')}/details/${id}`, headers, timeoutMs));
}

/** Asks twice, as the original does: its fault injection example shows what that costs. */
async function reviews(id: number, headers: Record<string, string>): Promise<Part> {
  const ask = (): Promise<Answer> => getJson(`${serviceUrl('reviews')}/reviews/${id}`, headers, timeoutMs);
  const first = await ask();
  return part('reviews', first.status === 200 ? first : await ask());
}

async function ratings(id: number, headers: Record<string, string>): Promise<Part> {
  return part('ratings', await getJson(`${serviceUrl('ratings')}/ratings/${id}`, headers, ratingsTimeoutMs));
}

function sendHtml(response: ServerResponse, html: string): void {
  response.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': Buffer.byteLength(html),
    'content-security-policy':
      "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
  });
  response.end(html);
}

function redirect(response: ServerResponse, cookie: string): void {
  response.writeHead(302, { location: '/productpage', 'set-cookie': cookie, 'content-length': 0 });
  response.end();
}

async function login(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxFormBytes) return sendJson(response, 413, { error: 'form too long' });
    chunks.push(chunk);
  }
  const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
  const user = encodeURIComponent(form.get('username') ?? '');
  redirect(response, `session=${user}; Path=/; HttpOnly; SameSite=Lax`);
}

async function api(
  request: IncomingMessage,
  response: ServerResponse,
  path: readonly string[],
): Promise<void> {
  const [idText, what, ...more] = path;
  if (idText === undefined) return sendJson(response, 200, products);
  const id = productId(idText);
  if (id === undefined || more.length > 0) return sendJson(response, 404, { error: 'not found' });
  const headers = forwardHeaders(request);
  const fetchers: Readonly<Record<string, typeof details>> = { reviews, ratings };
  const fetcher = what === undefined ? details : Object.hasOwn(fetchers, what) ? fetchers[what] : undefined;
  if (fetcher === undefined) return sendJson(response, 404, { error: 'not found' });
  const { status, body } = await fetcher(id, headers);
  sendJson(response, status, body);
}

serve(serviceOptions('productpage'), async (request, response, url) => {
  const path = url.pathname.replace(/(?<=.)\/$/, '');
  if (path === '/health') {
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end('Product page is healthy');
  } else if (path === '/' || path === '/index.html') {
    sendHtml(response, indexPage());
  } else if (path === '/productpage') {
    const product = products[0] ?? { id: 0, title: '', descriptionHtml: '' };
    const headers = forwardHeaders(request);
    const [found, reviewed] = await Promise.all([details(product.id, headers), reviews(product.id, headers)]);
    sendHtml(response, productPage({ user: userOf(request), product, details: found, reviews: reviewed }));
  } else if (path === '/login' && request.method === 'POST') {
    await login(request, response);
  } else if (path === '/logout') {
    redirect(response, 'session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax');
  } else if (path === '/api/v1/products' || path.startsWith('/api/v1/products/')) {
    await api(request, response, path.split('/').slice(4));
  } else {
    sendJson(response, 404, { error: 'not found' });
  }
});
