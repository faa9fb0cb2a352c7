/** The annotation by which Multus attaches networks to a pod: a list of names, or a JSON list of objects. */

/** The network as Multus writes it in JSON: name, and namespace when there is one. */
function asObject(network: string): string {
  const slash = network.indexOf('/');
  if (slash === -1) return `{"name": ${JSON.stringify(network)}}`;
  const namespace = JSON.stringify(network.slice(0, slash));
  return `{"name": ${JSON.stringify(network.slice(slash + 1))}, "namespace": ${namespace}}`;
}

function namesNetwork(item: unknown, network: string): boolean {
  if (typeof item !== 'object' || item === null || !('name' in item)) return false;
  const namespace = 'namespace' in item && item.namespace !== '' ? `${String(item.namespace)}/` : '';
  return `${namespace}${String(item.name)}` === network;
}

/** Adds a network to the annotation's text, unless it is there; what was written stays as it is. */
export function appendMultusNetwork(existing: string, network: string): string {
  const text = existing.trim();
  if (text === '') return network;
  if (!text.startsWith('[')) {
    const names = text.split(',').map((name) => name.trim());
    return names.includes(network) ? existing : `${existing}, ${network}`;
  }
  let items: unknown;
  try {
    items = JSON.parse(text);
  } catch {
    // Multus will say what is wrong with it.
    return existing;
  }
  if (!Array.isArray(items) || items.some((item) => namesNetwork(item, network))) return existing;
  const end = existing.lastIndexOf(']');
  const head = existing.slice(0, end).trimEnd();
  return `${head}${items.length === 0 ? '' : ', '}${asObject(network)}]${existing.slice(end + 1)}`;
}
