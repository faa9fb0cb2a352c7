/** TLS of a Sidecar's inbound listener: less is allowed than at a gateway. */
import type { Checker } from '../../schema/checker.ts';
import type { IstioIngressListener } from './types.ts';

/** Reports settings that only gateways have, and TLS on a protocol without it. */
export function checkIngressTls({ tls, port }: IstioIngressListener, at: Checker): void {
  if (tls === undefined) return;
  const name = (port?.protocol ?? '').toUpperCase();
  if (name !== 'HTTPS' && name !== 'TLS') {
    at.error(
      'conflict',
      `tls cannot stand beside protocol ${name === '' ? 'none' : name}: use HTTPS or TLS`,
      ['tls'],
    );
  }
  if (tls.httpsRedirect === true)
    at.error('conflict', 'httpsRedirect is for gateways only', ['tls', 'httpsRedirect']);
  for (const field of ['credentialName', 'subjectAltNames'] as const) {
    const value = tls[field];
    if (value !== undefined && value.length > 0)
      at.error('conflict', `${field} is for gateways only`, ['tls', field]);
  }
  if (tls.mode === 'ISTIO_MUTUAL' || tls.mode === 'AUTO_PASSTHROUGH') {
    at.error('conflict', `mode ${tls.mode} is for gateways only`, ['tls', 'mode']);
  }
}
