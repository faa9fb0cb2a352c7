/**
 * `node app.ts [PORT]`: an application with probes and metrics. `GET /` tells who answered and which headers came,
 * `/healthz` is for probes, `/metrics` counts requests. Ends gracefully.
 */
import { hostname } from 'node:os';
import { sendJson, serve } from '../../../samples/bookinfo/service.ts';

let requests = 0;
const port = Number(process.argv[2] ?? 8080);
serve(
  { name: 'app', host: '0.0.0.0', port, version: process.env['VERSION'] ?? 'v1' },
  (request, response, url) => {
    if (url.pathname === '/healthz')
      return sendJson(response, 200, { probe: request.headers['x-probe'] ?? '' });
    if (url.pathname === '/metrics') {
      const text = `# TYPE e2e_app_requests_total counter\ne2e_app_requests_total ${requests}\n`;
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
      return void response.end(text);
    }
    requests++;
    sendJson(response, 200, {
      host: hostname(),
      version: process.env['VERSION'] ?? 'v1',
      headers: request.headers,
    });
  },
);
