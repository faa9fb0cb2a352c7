/** `/config_dump`, made by a thread that ends with it. */
import { getCompileCacheDir } from 'node:module';
import { Worker } from 'node:worker_threads';
import { toBinary } from '@bufbuild/protobuf';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { DumpInput } from './config_dump.ts';
import type { AdminPage, AdminReply } from './page.ts';

/** What the thread is given. */
export interface DumpJob {
  readonly input: DumpInput;
  /** Directory of the compile cache, when the process has one. */
  readonly compileCache: string | undefined;
}

function runThread(input: DumpInput): Promise<AdminReply> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL('./config_dump_thread.ts', import.meta.url), {
      workerData: { input, compileCache: getCompileCacheDir() } satisfies DumpJob,
    });
    thread.once('message', (reply: AdminReply) => resolve(reply));
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`the dump ended with code ${code}`)));
  });
}

export const configDump: AdminPage = {
  path: '/config_dump',
  help: 'dump current configs',
  changes: false,
  parameters: [
    { name: 'resource', help: 'The resource to dump' },
    {
      name: 'mask',
      help: 'The mask to apply. With a resource it is applied to every element of it. The mask is parsed as a Protobuf::FieldMask',
    },
    { name: 'name_regex', help: 'Dump only configurations whose names match the specified regex.' },
    { name: 'include_eds', help: 'Dump currently loaded configuration including EDS.' },
  ],
  answer(state, { query }) {
    return runThread({
      bootstrap: toBinary(BootstrapSchema, state.bootstrap),
      node: toBinary(NodeSchema, state.node),
      startedMs: state.startedMs,
      types: state.resources(),
      warming: state.warming(),
      includeEndpoints: query.has('include_eds'),
      resource: query.get('resource') ?? undefined,
      mask: query.get('mask') ?? undefined,
      nameRegex: query.get('name_regex') ?? undefined,
    });
  },
};
