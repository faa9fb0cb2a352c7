/** `/runtime` and `/runtime_modify`: layers of runtime values (envoy.config.bootstrap.v3.LayeredRuntime). */
import { type AdminPage, json, text } from './page.ts';

export const runtime: AdminPage = {
  path: '/runtime',
  help: 'print runtime values',
  changes: false,
  answer({ runtime: state }) {
    return json({
      layers: state.layers,
      entries: Object.fromEntries(
        state
          .entries()
          .map(({ key, value, byLayer }) => [key, { final_value: value, layer_values: byLayer }]),
      ),
    });
  },
};

export const runtimeModify: AdminPage = {
  path: '/runtime_modify',
  help: 'Adds or modifies runtime values as passed in query parameters. An empty value takes an override away.',
  changes: true,
  answer(state, { query }) {
    if (query.size === 0)
      return text(
        'usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n' +
          '       or send the parameters as form values\n' +
          'use an empty value to remove a previously added override',
        400,
      );
    const error = state.runtime.modify(query);
    return error === undefined ? text('OK\n') : text(`${error}\n`, 503);
  },
};
