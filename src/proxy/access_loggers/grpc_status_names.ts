/** Names of gRPC status codes in the three forms of `%GRPC_STATUS(form)%`. */

const names = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;

/** `PermissionDenied`; the number for codes that have no name. */
export function camelName(status: number): string {
  return names[status] ?? String(status);
}

/** `PERMISSION_DENIED`; `CANCELLED` with two l, as gRPC's own documents write it. */
export function snakeName(status: number): string {
  const name = names[status];
  if (name === undefined) return String(status);
  if (name === 'Canceled') return 'CANCELLED';
  return name === 'OK' ? name : name.replace(/(?!^)([A-Z])/g, '_$1').toUpperCase();
}
