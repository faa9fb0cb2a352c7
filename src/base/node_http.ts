/**
 * `node:http` for a sidecar. An import of it from an ES module reads all its exports, and `WebSocket` among them loads undici:
 * 15 MB and a tenth of a sidecar's start for code that nothing here calls.
 */
export const { createServer, request } = process.getBuiltinModule('node:http');
