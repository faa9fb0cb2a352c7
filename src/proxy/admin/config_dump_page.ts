/** `/config_dump`, made by a thread that ends with it. */
import { getCompileCacheDir } from 'node:module';
import { Worker } from 'node:worker_threads';
import { toBinary } from '@bufbuild/protobuf';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { DumpInput } from './config_dump.ts';
import type { AdminPage } from './page.ts';

/** What the thread is given. */
export interface DumpJob {
  readonly input: DumpInput;
  /** Directory of the compile cache, when the process has one. */
  readonly compileCache: string | undefined;
}

function runThread(input: DumpInput): Promise<string> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL('./config_dump_thread.ts', import.meta.url), {
      workerData: { input, compileCache: getCompileCacheDir() } satisfies DumpJob,
    });
    thread.once('message', (body: string) => resolve(body));
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`the dump ended with code ${code}`)));
  });
}

export const configDump: AdminPage = {
  path: '/config_dump',
  help: 'dump current configs (experimental)',
  changes: false,
  async answer(state, { query }) {
    const body = await runThread({
      bootstrap: toBinary(BootstrapSchema, state.bootstrap),
      startedMs: state.startedMs,
      types: state.resources(),
      warming: state.warming(),
      includeEndpoints: query.has('include_eds'),
      resource: query.get('resource') ?? undefined,
      nameRegex: query.get('name_regex') ?? undefined,
    });
    return { status: 200, contentType: 'application/json', body };
  },
};
