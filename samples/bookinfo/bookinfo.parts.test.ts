/** The four programs, run as processes on loopback. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readTrysailFile } from '../../src/config/trysail_file/validate.ts';
import { formatConfigError } from '../../src/config/yaml/config_error.ts';
import { parseResources } from '../../src/config/yaml/parse.ts';
import { escapeHtml } from './page.ts';
import { carriedHeaders } from './service.ts';

interface Running {
  readonly process: ChildProcess;
  readonly port: number;
}

const closers: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closers) await close();
});

/** Starts a program on a free port; resolves when it listens. */
async function start(program: string, env: Record<string, string> = {}): Promise<Running> {
  const child = spawn(process.execPath, [`${program}.ts`, '0'], {
    cwd: import.meta.dirname,
    env: { PATH: process.env['PATH'] ?? '', HOST: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  closers.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  let output = '';
  for await (const chunk of child.stdout.setEncoding('utf8') as AsyncIterable<string>) {
    output += chunk;
    const port = /listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
    if (port !== undefined) {
      child.stdout.resume();
      return { process: child, port: Number(port) };
    }
  }
  throw new Error(`${program} did not start: ${output}`);
}

/** A server that answers as told and keeps what it was asked. */
async function record(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<{
  port: number;
  requests: IncomingMessage[];
  sockets: Set<unknown>;
}> {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<unknown>();
  const server = createServer((request, response) => {
    requests.push(request);
    sockets.add(request.socket);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests, sockets };
}

const json =
  (value: unknown) =>
  (_: unknown, response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };

/** Variables that lead from one service to another on loopback. */
function leadTo(targets: Record<string, number>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(targets).flatMap(([name, port]) => [
      [`${name.toUpperCase()}_HOSTNAME`, '127.0.0.1'],
      [`${name.toUpperCase()}_SERVICE_PORT`, String(port)],
    ]),
  );
}

const get = (port: number, path: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers, redirect: 'manual' });

describe('bookinfo services', () => {
  let details: Running;
  let ratings: Running;
  const reviews: Record<string, Running> = {};
  let page: Running;

  before(async () => {
    [details, ratings] = await Promise.all([start('details'), start('ratings')]);
    const toRatings = leadTo({ ratings: ratings.port });
    await Promise.all(
      ['v1', 'v2', 'v3'].map(async (version) => {
        reviews[version] = await start('reviews', {
          ...toRatings,
          SERVICE_VERSION: version,
          HOSTNAME: `reviews-${version}-x`,
        });
      }),
    );
    page = await start(
      'productpage',
      leadTo({ details: details.port, ratings: ratings.port, reviews: reviews['v3']!.port }),
    );
  });

  it('answer health checks', async () => {
    for (const [port, status] of [
      [details.port, 'Details is healthy'],
      [ratings.port, 'Ratings is healthy'],
      [reviews['v1']!.port, 'Reviews is healthy'],
    ] as const) {
      assert.deepEqual(await (await get(port, '/health')).json(), { status });
    }
    assert.equal(await (await get(page.port, '/health')).text(), 'Product page is healthy');
  });

  it('details', async () => {
    assert.deepEqual(await (await get(details.port, '/details/7')).json(), {
      id: 7,
      author: 'William Shakespeare',
      year: 1595,
      type: 'paperback',
      pages: 200,
      publisher: 'PublisherA',
      language: 'English',
      'ISBN-10': '1234567890',
      'ISBN-13': '123-1234567890',
    });
    assert.equal((await get(details.port, '/details/x')).status, 400);
    assert.equal((await get(details.port, '/other')).status, 404);
  });

  it('ratings, also those that were posted', async () => {
    const url = `http://127.0.0.1:${ratings.port}/ratings/5`;
    const initial = { id: 5, ratings: { Reviewer1: 5, Reviewer2: 4 } };
    assert.deepEqual(await (await fetch(url)).json(), initial);
    assert.equal((await fetch(url, { method: 'POST', body: '{"Reviewer1": "many"}' })).status, 400);
    await fetch(url, { method: 'POST', body: '{"Reviewer1": 1}' });
    assert.deepEqual(await (await fetch(url)).json(), { id: 5, ratings: { Reviewer1: 1 } });
  });

  it('reviews: no stars, black ones, red ones', async () => {
    for (const [version, rating] of [
      ['v1', undefined],
      ['v2', { stars: 5, color: 'black' }],
      ['v3', { stars: 5, color: 'red' }],
    ] as const) {
      const body = (await (await get(reviews[version]!.port, '/reviews/0')).json()) as {
        id: string;
        podname: string;
        clustername: string;
        reviews: { reviewer: string; text: string; rating?: object }[];
      };
      assert.deepEqual([body.id, body.podname, body.clustername], ['0', `reviews-${version}-x`, 'null']);
      assert.deepEqual(
        body.reviews.map(({ reviewer }) => reviewer),
        ['Reviewer1', 'Reviewer2'],
      );
      assert.deepEqual(body.reviews[0]?.rating, rating);
    }
  });

  it('productpage: page and API', async () => {
    const html = await (await get(page.port, '/productpage')).text();
    for (const piece of [
      'The Comedy of Errors',
      'PublisherA',
      'Reviewer1',
      '★★★★★',
      'class="stars red"',
      'reviews-v3-x',
    ]) {
      assert.ok(html.includes(piece), `page holds ${piece}`);
    }
    const api = async (path: string): Promise<unknown> =>
      (await get(page.port, `/api/v1/products${path}`)).json();
    assert.equal(((await api('')) as { title: string }[])[0]?.title, 'The Comedy of Errors');
    assert.equal(((await api('/0')) as { pages: number }).pages, 200);
    assert.equal(((await api('/0/reviews')) as { reviews: unknown[] }).reviews.length, 2);
    assert.deepEqual(await api('/0/ratings'), { id: 0, ratings: { Reviewer1: 5, Reviewer2: 4 } });
    for (const path of ['/x', '/0/constructor', '/0/reviews/1']) {
      assert.equal((await get(page.port, `/api/v1/products${path}`)).status, 404, path);
    }
  });

  it('login sets the user, who is sent on as end-user, and logout removes it', async () => {
    const seen = await record(json({ reviews: [] }));
    const own = await start('productpage', leadTo({ details: details.port, reviews: seen.port }));
    const response = await fetch(`http://127.0.0.1:${own.port}/login`, {
      method: 'POST',
      body: new URLSearchParams({ username: 'jason', passwd: '' }),
      redirect: 'manual',
    });
    assert.equal(response.status, 302);
    assert.equal(response.headers.get('location'), '/productpage');
    const cookie = response.headers.get('set-cookie')!.split(';')[0]!;
    const html = await (await get(own.port, '/productpage', { cookie, 'end-user': 'somebody else' })).text();
    assert.match(html, /jason · <a href="\/logout">/);
    assert.equal(seen.requests[0]?.headers['end-user'], 'jason');
    assert.match(
      (await get(own.port, '/logout', { cookie })).headers.get('set-cookie')!,
      /session=;.*Max-Age=0/,
    );
  });

  it('a service that fails is said so, and the page still comes', async () => {
    const broken = await record((_, response) => {
      response.writeHead(503);
      response.end();
    });
    const own = await start(
      'productpage',
      leadTo({ details: broken.port, reviews: broken.port, ratings: 1 }),
    );
    const response = await get(own.port, '/productpage');
    assert.equal(response.status, 200);
    const html = await response.text();
    assert.match(html, /Error fetching product details!/);
    assert.match(html, /Sorry, product reviews are currently unavailable for this book\./);
    assert.equal(broken.requests.length, 3, 'reviews are asked twice');
    assert.equal((await get(own.port, '/api/v1/products/0')).status, 503);
    assert.equal((await get(own.port, '/api/v1/products/0/ratings')).status, 500);
    const alone = await start('reviews', { ...leadTo({ ratings: 1 }), SERVICE_VERSION: 'v2' });
    const body = (await (await get(alone.port, '/reviews/0')).json()) as { reviews: { rating: object }[] };
    assert.deepEqual(body.reviews[0]?.rating, { error: 'Ratings service is currently unavailable' });
  });
});

describe('bookinfo: headers', () => {
  const sent = Object.fromEntries(carriedHeaders.map((name) => [name, `value of ${name}`]));

  it('are carried from productpage to details and reviews, and from there to ratings', async () => {
    const seen = await record(json({ id: 0, ratings: {} }));
    const reviews = await start('reviews', { ...leadTo({ ratings: seen.port }), SERVICE_VERSION: 'v2' });
    const page = await start('productpage', leadTo({ details: seen.port, reviews: reviews.port }));
    await get(page.port, '/productpage', { ...sent, 'x-private': 'stays here' });
    assert.deepEqual(seen.requests.map(({ url }) => url).sort(), ['/details/0', '/ratings/0']);
    for (const { headers, url } of seen.requests) {
      for (const [name, value] of Object.entries(sent))
        assert.equal(headers[name], value, `${name} to ${url}`);
      assert.equal(headers['x-private'], undefined);
    }
  });

  it('calls go through HTTP_PROXY when the environment says so, on kept connections', async () => {
    const proxy = await record(json({ reviews: [] }));
    const page = await start('productpage', {
      NODE_USE_ENV_PROXY: '1',
      HTTP_PROXY: `http://127.0.0.1:${proxy.port}`,
      SERVICES_DOMAIN: 'test',
    });
    for (let round = 0; round < 3; round++) await get(page.port, '/api/v1/products/0/reviews');
    assert.deepEqual(
      proxy.requests.map(({ url, headers }) => `${url} ${headers.host}`),
      Array.from({ length: 3 }, () => 'http://reviews.test:9080/reviews/0 reviews.test:9080'),
    );
    assert.equal(proxy.sockets.size, 1);
  });
});

describe('bookinfo: page', () => {
  it('escapes every value', async () => {
    const evil = `<script>alert("x")</script>'&`;
    const seen = await record(
      json({
        author: evil,
        pages: { evil },
        podname: evil,
        clustername: evil,
        reviews: [{ text: evil, reviewer: evil, rating: { stars: 3, color: evil } }],
      }),
    );
    const page = await start('productpage', leadTo({ details: seen.port, reviews: seen.port }));
    const html = await (
      await get(page.port, '/productpage', { cookie: `session=${encodeURIComponent(evil)}` })
    ).text();
    assert.ok(!html.includes('<script'), 'no script');
    assert.ok(!html.includes('alert("'), 'quotes are escaped');
    assert.ok(html.split(escapeHtml(evil)).length >= 6, 'the text is there, as text');
  });
});

describe('bookinfo: end', () => {
  it('finishes what is under way on SIGTERM, then ends with 0', async () => {
    const slow = await record(
      (_, response) => void setTimeout(() => json({ reviews: [] })(_, response), 700),
    );
    const page = await start('productpage', leadTo({ reviews: slow.port }));
    const answer = get(page.port, '/api/v1/products/0/reviews');
    while (slow.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    const exit = once(page.process, 'exit');
    page.process.kill('SIGTERM');
    // the signal is on its way: answers tell when it has come
    let late = await get(page.port, '/health');
    for (let i = 0; i < 50 && late.headers.get('connection') !== 'close'; i++)
      late = await get(page.port, '/health');
    assert.equal(late.headers.get('connection'), 'close');
    assert.equal((await answer).status, 200);
    assert.deepEqual(await exit, [0, null]);
  });
});

describe('bookinfo: files', () => {
  for (const path of globSync('**/*.yaml', { cwd: import.meta.dirname }).sort()) {
    it(`${path} is valid`, () => {
      const text = readFileSync(join(import.meta.dirname, path), 'utf8');
      if (path === 'trysail.yaml') return assert.equal(readTrysailFile(text, path).ok, true);
      const { errors, warnings } = parseResources(text, path);
      assert.deepEqual([...errors, ...warnings].map(formatConfigError), []);
    });
  }
});
