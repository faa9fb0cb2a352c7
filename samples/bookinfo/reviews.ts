/**
 * Reviews of a book: `GET /reviews/ID`. Version v1 has no stars, v2 black and v3 red ones: ENABLE_RATINGS (`true`,
 * `false`) and STAR_COLOR (`black`, `red`) decide, and by default follow SERVICE_VERSION.
 */
import { hostname } from 'node:os';
import { carry, getJson, productId, sendJson, serve, serviceOptions, serviceUrl } from './service.ts';

const options = serviceOptions('reviews');
const hasRatings = (process.env['ENABLE_RATINGS'] ?? String(options.version !== 'v1')) === 'true';
const color = process.env['STAR_COLOR'] ?? (options.version === 'v3' ? 'red' : 'black');
/** v2 waits long enough for the delays of the fault injection example, v3 does not. */
const timeoutMs = color === 'black' ? 10_000 : 2_500;

const texts = [
  'An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!',
  'Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.',
];

/** Stars of the two reviewers; undefined when the ratings service did not answer. */
async function fetchStars(
  id: number,
  headers: Record<string, string>,
): Promise<(number | undefined)[] | undefined> {
  const { status, body } = await getJson(`${serviceUrl('ratings')}/ratings/${id}`, headers, timeoutMs);
  if (status !== 200 || typeof body !== 'object' || body === null || !('ratings' in body)) return undefined;
  const ratings = body.ratings as Readonly<Record<string, number>>;
  return [ratings['Reviewer1'], ratings['Reviewer2']];
}

function rating(stars: (number | undefined)[] | undefined, index: number): object {
  if (!hasRatings) return {};
  if (stars === undefined) return { rating: { error: 'Ratings service is currently unavailable' } };
  return { rating: { stars: stars[index] ?? -1, color } };
}

serve(options, async (request, response, url) => {
  const [, first, second] = url.pathname.split('/');
  if (url.pathname === '/health') return sendJson(response, 200, { status: 'Reviews is healthy' });
  if (first !== 'reviews') return sendJson(response, 404, { error: 'not found' });
  const id = productId(second);
  if (id === undefined) return sendJson(response, 400, { error: 'please provide numeric product id' });
  const stars = hasRatings ? await fetchStars(id, carry(request.headers)) : undefined;
  sendJson(response, 200, {
    id: String(id),
    podname: process.env['HOSTNAME'] ?? hostname(),
    clustername: process.env['CLUSTER_NAME'] ?? 'null',
    reviews: texts.map((text, index) => ({
      reviewer: `Reviewer${index + 1}`,
      text,
      ...rating(stars, index),
    })),
  });
});
