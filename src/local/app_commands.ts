/** Which local command stands for a container image: what `trysail.yaml` says. */
import type { Container } from '#config/kinds/kubernetes/types.ts';

/** A command to run in place of an image. `${HOST}` and `${PORT}` in words and values are where to listen. */
export interface AppEntry {
  /** `docker.io/istio/examples-bookinfo-reviews-v2:*`; `*` stands for any characters. */
  readonly image: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Absolute folder in which the command runs. */
  readonly directory: string;
}

export interface AppCommands {
  find(
    container: Container,
    variables: { readonly HOST: string; readonly PORT: string },
  ): { command: string[]; env: Record<string, string>; cwd: string } | undefined;
}

/** True when an image name fits a pattern in which `*` stands for any characters. */
export function matchesImage(pattern: string, image: string): boolean {
  const parts = pattern.split('*');
  const first = parts[0] ?? '';
  if (parts.length === 1) return image === pattern;
  if (!image.startsWith(first)) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = image.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  const last = parts.at(-1) ?? '';
  return image.length - last.length >= at && image.endsWith(last);
}

/**
 * Commands by image, the first entry that fits wins. `node` as the command's first word means the Node that runs trysail.
 * @param baseEnvironment what every application gets (PATH, HOME).
 */
export function createAppCommands(
  entries: readonly AppEntry[],
  nodePath: string,
  baseEnvironment: Readonly<Record<string, string>>,
): AppCommands {
  return {
    find(container, variables) {
      const image = container.image ?? '';
      const entry = entries.find((candidate) => matchesImage(candidate.image, image));
      if (entry === undefined) return undefined;
      const fill = (text: string): string =>
        text.replace(/\$\{(HOST|PORT)\}/g, (_, name: 'HOST' | 'PORT') => variables[name]);
      const [first = '', ...rest] = entry.command.map(fill);
      return {
        command: [first === 'node' ? nodePath : first, ...rest],
        env: {
          ...baseEnvironment,
          HOST: variables.HOST,
          PORT: variables.PORT,
          ...Object.fromEntries(Object.entries(entry.env).map(([key, value]) => [key, fill(value)])),
        },
        cwd: entry.directory,
      };
    },
  };
}
