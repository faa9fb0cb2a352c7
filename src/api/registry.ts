/**
 * A registry of all message types that may stand in a `google.protobuf.Any`. Importing this file loads every generated
 * file: only processes that turn JSON or YAML into messages or back do so. The data plane decodes each `Any` by the one
 * schema its type URL stands for.
 */
import { type Registry, createRegistry } from '@bufbuild/protobuf';
import {
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt';
import { allFiles } from './gen/all_files.ts';

/**
 * A new registry of all generated types and the well-known ones, for the `registry` option of `fromJson` and `toJson`.
 * It answers `getMessage('envoy.config.listener.v3.Listener')`.
 */
export function createTypeRegistry(): Registry {
  return createRegistry(
    ...allFiles,
    file_google_protobuf_any,
    file_google_protobuf_duration,
    file_google_protobuf_empty,
    file_google_protobuf_field_mask,
    file_google_protobuf_struct,
    file_google_protobuf_timestamp,
    file_google_protobuf_wrappers,
  );
}
