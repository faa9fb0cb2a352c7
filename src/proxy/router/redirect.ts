/** `envoy.config.route.v3.RedirectAction`: the new URL of a request. */
import {
  type RedirectAction as RedirectProto,
  RedirectAction_RedirectResponseCode as Code,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { compileHeaderFormat } from '../http/header_formatter.ts';
import { compileSubstitution } from '../http/regex.ts';
import type { RedirectAction } from './route_entry.ts';
import type { PrefixRewrite } from './route_match.ts';
import { stripPort } from './virtual_host_match.ts';

const statusByCode: Readonly<Record<number, number>> = {
  [Code.MOVED_PERMANENTLY]: 301,
  [Code.FOUND]: 302,
  [Code.SEE_OTHER]: 303,
  [Code.TEMPORARY_REDIRECT]: 307,
  [Code.PERMANENT_REDIRECT]: 308,
};

/** Throws Error for a bad regex or status. */
export function compileRedirect(proto: RedirectProto, replacePrefix: PrefixRewrite): RedirectAction {
  const status = statusByCode[proto.responseCode];
  if (status === undefined) throw new Error(`redirect code ${proto.responseCode} is unknown`);
  const { schemeRewriteSpecifier: scheme, pathRewriteSpecifier: target } = proto;
  const regex = target.case === 'regexRewrite' ? compileSubstitution(target.value) : undefined;
  const format = target.case === 'pathRewrite' ? compileHeaderFormat(target.value) : undefined;
  return {
    kind: 'redirect',
    status,
    location(headers, context) {
      const oldScheme = headers.scheme === '' ? 'http' : headers.scheme;
      let newScheme = oldScheme;
      if (scheme.case === 'httpsRedirect' && scheme.value) newScheme = 'https';
      else if (scheme.case === 'schemeRedirect') newScheme = scheme.value;
      let host = proto.hostRedirect === '' ? headers.authority : proto.hostRedirect;
      if (proto.portRedirect !== 0) host = `${stripPort(host)}:${proto.portRedirect}`;
      else if (proto.hostRedirect === '' && newScheme !== oldScheme) {
        // The old scheme's default port would be wrong under the new one.
        const plain = stripPort(host);
        if (host === `${plain}:${oldScheme === 'https' ? 443 : 80}`) host = plain;
      }
      const question = headers.path.indexOf('?');
      const oldPath = question < 0 ? headers.path : headers.path.slice(0, question);
      const query = question < 0 || proto.stripQuery ? '' : headers.path.slice(question);
      let path = oldPath + query;
      if (target.case === 'pathRedirect')
        path = target.value.includes('?') ? target.value : target.value + query;
      else if (target.case === 'prefixRewrite') path = replacePrefix(oldPath, target.value) + query;
      else if (regex !== undefined) path = regex(oldPath) + query;
      else if (format !== undefined) path = (typeof format === 'string' ? format : format(context)) + query;
      return `${newScheme}://${host}${path}`;
    },
  };
}
