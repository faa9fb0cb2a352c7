/**
 * `node get.ts URL [COUNT] [NAME: VALUE]...`: requests one after another, over kept connections. One line of JSON for each:
 * `{"status":200,"body":"…","headers":{…}}`, status 0 with the error when there was no answer.
 */
import { Agent, get } from 'node:http';

const [url = '', count = '1', ...lines] = process.argv.slice(2);
const headers = Object.fromEntries(
  lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }),
);
const agent = new Agent({ keepAlive: true });

function ask(): Promise<object> {
  return new Promise((resolve) => {
    const request = get(url, { agent, headers, timeout: 10_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode, body, headers: response.headers }));
      response.on('error', ({ message }) => resolve({ status: 0, body: message, headers: {} }));
    });
    request.on('timeout', () => request.destroy(new Error('no answer in 10 s')));
    request.on('error', ({ message }) => resolve({ status: 0, body: message, headers: {} }));
  });
}

for (let left = Number(count); left > 0; left--) console.log(JSON.stringify(await ask()));
agent.destroy();
