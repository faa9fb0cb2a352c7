/** The HTML of productpage. Every value that is not written here passes through `html` and is escaped. */

/** What a service said. */
export interface Part {
  readonly status: number;
  readonly body: unknown;
}

/** What the page shows. */
export interface PageContent {
  /** Empty when nobody is logged in. */
  readonly user: string;
  /** The description is our own HTML. */
  readonly product: { readonly title: string; readonly descriptionHtml: string };
  readonly details: Part;
  readonly reviews: Part;
}

/** HTML that needs no escaping. */
class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Text as it may stand in HTML, also within quotes. */
export function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

function render(value: unknown): string {
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(render).join('');
  if (value === undefined || value === null) return '';
  return escapeHtml(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

function html(parts: TemplateStringsArray, ...values: readonly unknown[]): Html {
  return new Html(String.raw({ raw: parts }, ...values.map(render)));
}

const style = new Html(`
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2f6feb; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
header { display: flex; gap: 1rem; align-items: center; justify-content: space-between; padding: .75rem 1.5rem; border-bottom: 1px solid var(--line); }
header a { color: inherit; text-decoration: none; font-weight: 600; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
section.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 2rem; }
h1 { margin: 1rem 0; text-align: center; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .5rem; border-bottom: 1px solid var(--line); }
blockquote { margin: 0 0 1rem; padding: .75rem 1rem; background: var(--soft); border-left: 3px solid var(--accent); border-radius: 4px; }
cite { display: block; margin-top: .5rem; font-size: .9em; }
.stars { font-size: 1.3em; letter-spacing: .1em; } .black { color: CanvasText; } .red { color: #d9302c; }
.error { padding: .75rem 1rem; border: 1px solid #d9302c88; border-radius: 4px; background: #d9302c18; }
.muted { opacity: .7; font-size: .9em; }
input, button { font: inherit; padding: .25rem .6rem; border: 1px solid var(--line); border-radius: 4px; }
button { background: var(--accent); color: #fff; cursor: pointer; }`);

function layout(title: string, user: string, content: Html): string {
  const account =
    user === ''
      ? html`<form method="post" action="/login">
          <input name="username" aria-label="User name" placeholder="user name" required />
          <input name="passwd" type="password" aria-label="Password" placeholder="any password" />
          <button>Sign in</button>
        </form>`
      : html`<span>${user} · <a href="/logout">sign out</a></span>`;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <header><a href="/productpage">BookInfo Sample</a>${account}</header>
        <main>${content}</main>
      </body>
    </html> `.text;
}

/** The page at `/`. */
export function indexPage(): string {
  return layout(
    'BookInfo Sample',
    '',
    html`<h1>Hello! This is a simple bookstore application.</h1>
      <p>It consists of four services: productpage, details, reviews and ratings.</p>
      <p><a href="/productpage">Go to the product page</a></p>`,
  );
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function failure(title: string, body: unknown): Html {
  return html`<div class="error"><strong>${title}</strong><br />${record(body)['error']}</div>`;
}

function detailsHtml({ status, body }: Part): Html {
  if (status !== 200) return failure('Error fetching product details!', body);
  const value = record(body);
  const rows: readonly (readonly [label: string, field: string])[] = [
    ['ISBN-10', 'ISBN-10'],
    ['Publisher', 'publisher'],
    ['Pages', 'pages'],
    ['Type', 'type'],
    ['Language', 'language'],
    ['Author', 'author'],
    ['Year', 'year'],
  ];
  const cells = rows.map(
    ([label, field]) =>
      html`<tr>
        <th scope="row">${label}</th>
        <td>${value[field]}</td>
      </tr> `,
  );
  return html`<h2>Book Details</h2>
    <table>
      ${cells}
    </table>`;
}

function starsHtml(value: unknown): Html {
  if (value === undefined) return html``;
  const { error, stars, color } = record(value);
  if (error !== undefined) return html`<div class="muted">${error}</div>`;
  const full = Math.max(0, Math.min(5, Math.trunc(Number(stars)) || 0));
  const label = `${full} of 5 stars`;
  const shade = color === 'red' ? 'red' : 'black';
  return html`<div class="stars ${shade}" role="img" aria-label="${label}" title="${label}, ${color}">
    ${'★'.repeat(full)}${'☆'.repeat(5 - full)}
  </div>`;
}

function reviewsHtml({ status, body }: Part): Html {
  if (status !== 200) return failure('Error fetching product reviews!', body);
  const { reviews, podname, clustername } = record(body);
  const quotes = (Array.isArray(reviews) ? reviews : []).map((review: unknown) => {
    const { text, reviewer, rating } = record(review);
    return html`<blockquote>${text}<cite>— ${reviewer}</cite>${starsHtml(rating)}</blockquote> `;
  });
  const cluster = clustername === 'null' ? '' : html`, cluster ${clustername}`;
  return html`<h2>Book Reviews</h2>
    ${quotes}
    <p class="muted">Reviews served by: <span id="podname">${podname}</span>${cluster}</p>`;
}

/** The page at `/productpage`. */
export function productPage({ user, product, details, reviews }: PageContent): string {
  return layout(
    'Simple Bookstore App',
    user,
    html`<h1>${product.title}</h1>
      <p>${new Html(product.descriptionHtml)}</p>
      <section class="columns">
        <div>${detailsHtml(details)}</div>
        <div>${reviewsHtml(reviews)}</div>
      </section>`,
  );
}
