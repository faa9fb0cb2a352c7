/** Istio's own cases of injection: where they are, how they are read and compared. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';

/** A JSON object of any shape. */
export type Json = Record<string, unknown>;

const data = process.env['TRYSAIL_TESTDATA'] ?? join(import.meta.dirname, '../../../shared/istio-testdata');

/** Why the cases cannot run, or false. */
export const missing = existsSync(join(data, 'inject'))
  ? false
  : `no test data: ${data} (set TRYSAIL_TESTDATA)`;
if (missing && process.env['CI'] === 'true') throw new Error(missing);

/** The folder of a suite. */
export function suiteFolder(suite: string): string {
  return join(data, suite);
}

/** The cases of a suite; none when the data is missing. */
export function cases<T>(suite: string): T[] {
  return missing ? [] : (JSON.parse(readFileSync(join(suiteFolder(suite), 'manifest.json'), 'utf8')) as T[]);
}

/** A file of a suite. */
export function readCase(suite: string, path: string): string {
  return readFileSync(join(suiteFolder(suite), path), 'utf8');
}

/** Every document of a text, without empty ones. */
export function documents(text: string): Json[] {
  return parseAllDocuments(text, yamlOptions())
    .map((document) => document.toJS() as Json | null)
    .filter((value) => value !== null);
}

/** What a run of the command line gave. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const launcher = join(import.meta.dirname, '../../bin/trysail');
/** Longest run of one command. */
const timeout = 60_000;

/** Runs `trysail` in a folder. */
export function trysail(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RunResult> {
  const { KUBECONFIG: _, ...own } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [launcher, ...args],
      { cwd, env: { ...own, ...env }, timeout, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}

/** A copy with the status annotation read as JSON, without its version. */
export function withStatusRead(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withStatusRead);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (key !== 'sidecar.istio.io/status' || typeof item !== 'string') return [key, withStatusRead(item)];
      const { version: _, ...status } = JSON.parse(item) as Json;
      return [key, status];
    }),
  );
}

/** Deep equality of documents, with the status annotation compared as JSON. */
export function assertSameDocuments(actual: readonly unknown[], expected: readonly unknown[]): void {
  assert.deepEqual(actual.map(withStatusRead), expected.map(withStatusRead));
}

/** A test that a list names as not passing must not pass. */
export async function listed(reason: string | undefined, run: () => Promise<void> | void): Promise<void> {
  if (reason === undefined) return await run();
  let passed = false;
  try {
    await run();
    passed = true;
  } catch {
    // As listed.
  }
  assert.ok(!passed, 'passes now: take it off the list');
}
