/** What `trysail up` shows: a table of pods, log lines coloured by pod, and one line at the bottom that refreshes. */
import { styleText } from 'node:util';
import { formatColumns } from '#base/columns.ts';
import type { MeshStatus, PodStatus } from './control.ts';
import type { LogLine } from './log_buffer.ts';

const palette = [
  'cyan',
  'yellow',
  'green',
  'magenta',
  'blue',
  'red',
  'cyanBright',
  'yellowBright',
  'greenBright',
  'magentaBright',
] as const;

/** The table of pods as lines. */
export function formatPods(pods: readonly PodStatus[]): string[] {
  return formatColumns([
    ['POD', 'VERSION', 'ADDRESS', 'IDENTITY', 'XDS', 'STATE'],
    ...pods.map((pod) => [
      pod.name,
      pod.version,
      pod.address,
      pod.identity === '' ? '-' : pod.identity,
      pod.xds === '' ? '-' : pod.xds,
      pod.restarts === 0 ? pod.phase : `${pod.phase} (${pod.restarts} restarts)`,
    ]),
  ]);
}

/** How often the table is printed while the mesh has not settled. */
const startingTableMs = 5000;

export interface ScreenOptions {
  readonly write: (text: string) => void;
  /** Escapes for colours and a line that refreshes; plain lines without. */
  readonly terminal: boolean;
  /** Columns of the terminal now. */
  readonly columns: () => number;
  /** One JSON object per line in place of text. */
  readonly json: boolean;
}

export class Screen {
  readonly #options: ScreenOptions;
  readonly #colours = new Map<string, (typeof palette)[number]>();
  #bottom = '';
  #table = '';
  #nextTable = 0;

  constructor(options: ScreenOptions) {
    this.#options = options;
  }

  #line(text: string): void {
    const { write, terminal } = this.#options;
    if (terminal && this.#bottom !== '') write(`\r\u001b[2K${text}\n${this.#bottom}`);
    else write(`${text}\n`);
  }

  #json(type: string, value: object): void {
    this.#options.write(`${JSON.stringify({ type, ...value })}\n`);
  }

  /** A message of trysail itself. */
  note(message: string, kind: 'info' | 'problem' = 'info'): void {
    if (this.#options.json) return this.#json(kind, { message });
    const text =
      this.#options.terminal && kind === 'problem'
        ? styleText('red', message, { validateStream: false })
        : message;
    for (const line of text.split('\n')) this.#line(line);
  }

  /** The table, printed again only when it changed. */
  status(status: MeshStatus): void {
    if (this.#options.json) {
      const text = JSON.stringify(status);
      if (text !== this.#table) this.#json('status', status);
      this.#table = text;
      return;
    }
    const lines = formatPods(status.pods);
    const table = [...lines, ...status.urls.map((url) => `Open ${url}`)].join('\n');
    // while pods start every second brings another state: a table now and then is enough
    const now = performance.now();
    if (table === this.#table || (!status.settled && now < this.#nextTable)) return;
    this.#table = table;
    this.#nextTable = now + startingTableMs;
    this.#line('');
    for (const line of lines) this.#line(line);
    for (const url of status.urls) {
      this.#line(
        this.#options.terminal ? styleText('bold', `Open ${url}`, { validateStream: false }) : `Open ${url}`,
      );
    }
    this.#line('');
  }

  log(line: LogLine): void {
    if (this.#options.json) return this.#json('log', line);
    const label = line.source === 'istio-proxy' ? line.pod : `${line.pod}/${line.source}`;
    this.#line(`${this.#colour(line.pod, label)} ${line.text}`);
  }

  /** The line at the bottom. Without a terminal it is printed as a line of its own. */
  rates(text: string, value: object): void {
    if (this.#options.json) return this.#json('rates', value);
    if (!this.#options.terminal) {
      if (text !== this.#bottom) this.#options.write(`${text}\n`);
      this.#bottom = text;
      return undefined;
    }
    const width = Math.max(20, this.#options.columns() - 1);
    this.#bottom = styleText('inverse', text.length > width ? text.slice(0, width) : text, {
      validateStream: false,
    });
    this.#options.write(`\r\u001b[2K${this.#bottom}`);
    return undefined;
  }

  /** Leaves the terminal as it was found. */
  end(): void {
    if (this.#options.terminal && this.#bottom !== '') this.#options.write('\r\u001b[2K');
    this.#bottom = '';
  }

  #colour(pod: string, label: string): string {
    if (!this.#options.terminal) return label;
    let colour = this.#colours.get(pod);
    if (colour === undefined) {
      colour = palette[this.#colours.size % palette.length] ?? 'cyan';
      this.#colours.set(pod, colour);
    }
    return styleText(colour, label, { validateStream: false });
  }
}
