/** Details of a book: `GET /details/ID`. */
import { productId, sendJson, serve, serviceOptions } from './service.ts';

serve(serviceOptions('details'), (_, response, url) => {
  const [, first, second] = url.pathname.split('/');
  if (url.pathname === '/health') return sendJson(response, 200, { status: 'Details is healthy' });
  if (first !== 'details') return sendJson(response, 404, { error: 'not found' });
  const id = productId(second);
  if (id === undefined) return sendJson(response, 400, { error: 'please provide numeric product id' });
  sendJson(response, 200, {
    id,
    author: 'William Shakespeare',
    year: 1595,
    type: 'paperback',
    pages: 200,
    publisher: 'PublisherA',
    language: 'English',
    'ISBN-10': '1234567890',
    'ISBN-13': '123-1234567890',
  });
});
