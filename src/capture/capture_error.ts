/**
 * The error of packet capture. `code` is stable:
 * - `invalid_config`: a value of the configuration cannot become a rule;
 * - `missing_program`: iptables, ip or nsenter is not installed or not usable here;
 * - `command_failed`: a program refused a rule or a route;
 * - `drift`: other capture rules are in place and reconciliation was not asked for;
 * - `not_captured`: validation saw no redirected connection in time.
 */
export class CaptureError extends Error {
  readonly code: CaptureErrorCode;

  constructor(code: CaptureErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CaptureError';
    this.code = code;
  }
}

export type CaptureErrorCode =
  | 'invalid_config'
  | 'missing_program'
  | 'command_failed'
  | 'drift'
  | 'not_captured';
