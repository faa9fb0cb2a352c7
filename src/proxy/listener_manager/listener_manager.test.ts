import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import type { FactoryContext, ListenerFilterExtension } from '../factory_context.ts';
import type { DownstreamConnection } from '../network/connection.ts';
import { ListenerFilterStatus } from '../network/listener_filter.ts';
import { noSecrets } from '../network/secret.ts';
import { ResponseFlag } from '../stream_info/response_flags.ts';
import { ListenerManager } from './listener_manager.ts';
import { echoAny, terminalExtension, testContext } from './testing.ts';

type Init = NonNullable<Parameters<typeof create<typeof ListenerSchema>>[1]>;

function listener(init: Init): Listener {
  return create(ListenerSchema, { name: 'l', ...address('127.0.0.1', 0), ...init } as object);
}

function address(ip: string, port: number): Init {
  return {
    address: {
      address: {
        case: 'socketAddress',
        value: { address: ip, portSpecifier: { case: 'portValue', value: port } },
      },
    },
  } as Init;
}

const echoFilter = { name: 'echo', configType: { case: 'typedConfig' as const, value: echoAny } };

function manager(t: TestContext): ListenerManager {
  const made = new ListenerManager({ sockets: { secrets: noSecrets }, drainTimeMs: 200 });
  t.after(() => made.close());
  return made;
}

async function activate(on: ListenerManager, config: Listener, context: FactoryContext): Promise<number> {
  const staged = on.stage(config, context);
  await new Promise<void>((resolve, reject) =>
    staged.activate((error) => (error === undefined ? resolve() : reject(error))),
  );
  return on.get(config.name)?.boundAddresses[0]?.port ?? -1;
}

async function dial(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

function echo(connection: DownstreamConnection, instance: number): void {
  connection.socket.on('data', (data: Buffer) => connection.socket.write(`${instance}:${data.toString()}`));
  connection.socket.on('end', () => connection.socket.end());
  connection.socket.resume();
}

async function ask(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return answer.toString();
}

test('a connection reaches the terminal filter of the matching chain', async (t) => {
  const on = manager(t);
  const seen: DownstreamConnection[] = [];
  const terminal = terminalExtension((connection, instance) => {
    seen.push(connection);
    echo(connection, instance);
  });
  const config = listener({
    filterChains: [
      { name: 'other', filterChainMatch: { sourceType: 2 }, filters: [echoFilter] },
      { name: 'mine', filterChainMatch: { sourceType: 1 }, filters: [echoFilter] },
    ],
  } as Init);
  const port = await activate(on, config, testContext({ network_filter: [terminal] }));
  const socket = await dial(t, port);
  assert.equal(await ask(socket, 'hello'), '2:hello');
  assert.equal(seen[0]?.info.filterChainName, 'mine');
  assert.equal(seen[0]?.info.localAddress.port, port);
  assert.equal(seen[0]?.info.remoteAddress.port, socket.localPort);
  const stats = on.get('l')?.stats;
  assert.equal(stats?.downstreamCxActive, 1);
  socket.end();
  await once(socket, 'close');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(stats?.downstreamCxActive, 0);
  assert.equal(stats?.downstreamCxTotal, 1);
});

test('no matching chain closes the connection and logs NR', async (t) => {
  const on = manager(t);
  const flags: number[] = [];
  const config = listener({
    filterChains: [{ filterChainMatch: { destinationPort: 1 }, filters: [echoFilter] }],
    accessLog: [{ name: 'x' }],
  } as Init);
  const context = testContext(
    { network_filter: [terminalExtension(echo)] },
    { accessLoggers: () => [{ log: (info) => void flags.push(info.responseFlags) }] },
  );
  const socket = await dial(t, await activate(on, config, context));
  await once(socket.resume(), 'close');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(flags, [ResponseFlag.noRouteFound]);
  assert.equal(on.get('l')?.stats.noFilterChainMatch, 1);
});

test('an update keeps connections, live objects of equal chains and hands new filters to open connections', async (t) => {
  const on = manager(t);
  const terminal = terminalExtension((connection) => {
    // As the connection manager does: the newest filter of the chain answers each request.
    const { chain, socket } = connection;
    socket.on('data', () => socket.write(names.get(chain.current) ?? 'unknown'));
    socket.resume();
  });
  const names = new Map<unknown, string>();
  const { create: makeTerminal } = terminal;
  let made = 0;
  terminal.create = (config, factoryContext) => {
    const factory = makeTerminal(config, factoryContext);
    if (factory.terminal) names.set(factory.filter, `filter ${++made}`);
    return factory;
  };
  const context = testContext({ network_filter: [terminal] });
  const chain = (name: string, port: number, metadata: string) => ({
    name,
    filterChainMatch: { destinationPort: port },
    filters: [echoFilter],
    metadata: { filterMetadata: { x: { version: metadata } } },
  });
  const port = await activate(
    on,
    listener({
      filterChains: [chain('a', 1, '1')],
      defaultFilterChain: { name: 'd', filters: [echoFilter] },
    } as Init),
    context,
  );
  const socket = await dial(t, port);
  assert.equal(await ask(socket, 'x'), 'filter 2');
  // Chain a did not change, the default chain did.
  const changed = listener({
    filterChains: [chain('a', 1, '1')],
    defaultFilterChain: { name: 'd', filters: [{ ...echoFilter, name: 'renamed' }] },
  } as Init);
  assert.equal(await activate(on, changed, context), port);
  assert.equal(made, 3);
  assert.equal(terminal.closed, 1);
  assert.equal(await ask(socket, 'x'), 'filter 3');
  assert.equal(on.stage(changed, context).unchanged, true);
  // The chain goes away: its connection drains and is closed after the drain time.
  const gone = listener({ filterChains: [chain('a', 1, '1')] } as Init);
  await activate(on, gone, context);
  assert.equal(await ask(socket, 'x'), 'filter 3');
  const start = performance.now();
  await once(socket, 'close');
  assert.ok(performance.now() - start > 100);
});

test('a bad version leaves the live one alone and names the part', async (t) => {
  const on = manager(t);
  const context = testContext({ network_filter: [terminalExtension(echo)] });
  const port = await activate(on, listener({ filterChains: [{ filters: [echoFilter] }] } as Init), context);
  const bad = listener({ filterChains: [{ name: 'c', filters: [echoFilter, { name: 'nope' }] }] } as Init);
  assert.throws(
    () => on.stage(bad, context),
    /filter chain "c": filter nope stands behind a terminal filter/,
  );
  const unknown = listener({ filterChains: [{ name: 'c', filters: [{ name: 'nope' }] }] } as Init);
  assert.throws(() => on.stage(unknown, context), /network filter nope: nothing is compiled in/);
  assert.equal(await ask(await dial(t, port), 'x'), '1:x');
});

test('a removed listener refuses new connections and drains open ones', async (t) => {
  const on = manager(t);
  let drained = 0;
  const terminal = terminalExtension((connection) => {
    connection.drain.onDrain(() => drained++);
    echo(connection, 1);
  });
  const port = await activate(
    on,
    listener({ filterChains: [{ filters: [echoFilter] }] } as Init),
    testContext({ network_filter: [terminal] }),
  );
  const socket = await dial(t, port);
  await ask(socket, 'x');
  assert.equal(on.remove('l'), true);
  assert.equal(await ask(socket, 'still'), '1:still');
  const refused = connect(port, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
  await once(socket, 'close');
  // At some moment of the drain time.
  assert.equal(drained, 1);
  assert.equal(terminal.closed, 1);
});

/** Listener filters for tests: one restores an address, one waits for bytes. */
function restoring(ip: string, port: number): ListenerFilterExtension {
  return {
    name: 'restore',
    typeUrls: [],
    create: () => ({
      createFilter: () => ({
        maxReadBytes: 0,
        consumed: 0,
        onAccept(_socket, info) {
          info.localAddress = { ip, port };
          info.localAddressRestored = true;
          return ListenerFilterStatus.continue;
        },
      }),
    }),
  };
}

function waitingFor(bytes: number, consumed: number): ListenerFilterExtension {
  return {
    name: 'wait',
    typeUrls: [],
    create: () => ({
      createFilter: () => ({
        maxReadBytes: 64,
        consumed,
        onAccept: () => ListenerFilterStatus.moreData,
        onData: (data) =>
          data.length >= bytes ? ListenerFilterStatus.continue : ListenerFilterStatus.moreData,
      }),
    }),
  };
}

test('a restored address goes to its virtual listener, else stays', async (t) => {
  for (const [ip, port, expected] of [
    ['10.0.0.1', 80, 'exact'],
    ['10.0.0.2', 80, 'wildcard'],
    ['10.0.0.2', 81, 'owner'],
  ] as const) {
    const on = manager(t);
    const context = testContext({
      network_filter: [terminalExtension((connection) => void connection.socket.end(connection.chain.name))],
      listener_filter: [{ ...restoring(ip, port), name: 'envoy.filters.listener.original_dst' }],
    });
    const chains = (name: string) => ({ filterChains: [{ name, filters: [echoFilter] }] });
    const virtual = { bindToPort: false };
    await activate(
      on,
      listener({ name: 'w', ...address('0.0.0.0', 80), ...virtual, ...chains('wildcard') } as Init),
      context,
    );
    await activate(
      on,
      listener({ name: 'e', ...address('10.0.0.1', 80), ...virtual, ...chains('exact') } as Init),
      context,
    );
    // the listener filter comes with use_original_dst
    const own = { useOriginalDst: true };
    const bound = await activate(on, listener({ name: 'o', ...own, ...chains('owner') } as Init), context);
    const socket = await dial(t, bound);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.equal(answer.toString(), expected);
    assert.equal(on.get('o')?.stats.downstreamCxActive, expected === 'owner' ? 1 : 0);
  }
});

test('listener filters see bytes that come one by one, and all but consumed bytes arrive above', async (t) => {
  const on = manager(t);
  const context = testContext({
    network_filter: [
      terminalExtension((connection) => {
        let text = '';
        connection.socket.on('data', (data: Buffer) => {
          text += data.toString();
          if (text.endsWith('.')) connection.socket.end(text);
        });
        connection.socket.resume();
      }),
    ],
    listener_filter: [waitingFor(5, 2), { ...waitingFor(4, 0), name: 'wait2' }],
  });
  const port = await activate(
    on,
    listener({
      listenerFilters: [{ name: 'wait' }, { name: 'wait2' }],
      filterChains: [{ filters: [echoFilter] }],
    } as Init),
    context,
  );
  const socket = await dial(t, port);
  socket.setNoDelay(true);
  for (const char of 'XXabcdef.') {
    socket.write(char);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.equal(answer.toString(), 'abcdef.');
});

test('listener filter timeout: close, or go on', async (t) => {
  for (const goOn of [false, true]) {
    const on = manager(t);
    const context = testContext({
      network_filter: [terminalExtension((connection) => void connection.socket.end('220 server first'))],
      listener_filter: [waitingFor(5, 0)],
    });
    const port = await activate(
      on,
      listener({
        listenerFilters: [{ name: 'wait' }],
        listenerFiltersTimeout: { seconds: 0n, nanos: 50_000_000 },
        continueOnListenerFiltersTimeout: goOn,
        filterChains: [{ filters: [echoFilter] }],
      } as Init),
      context,
    );
    const socket = await dial(t, port);
    let text = '';
    socket.on('data', (data: Buffer) => (text += data.toString()));
    await once(socket, 'close');
    assert.equal(text, goOn ? '220 server first' : '');
  }
});

test('filter_disabled looks at the restored port', async (t) => {
  const on = manager(t);
  const context = testContext({
    network_filter: [terminalExtension((connection) => void connection.socket.end('hello'))],
    listener_filter: [restoring('10.0.0.1', 3306), waitingFor(5, 0)],
  });
  const range = { start: 3306, end: 3307 };
  const port = await activate(
    on,
    listener({
      listenerFilters: [
        { name: 'restore' },
        { name: 'wait', filterDisabled: { rule: { case: 'destinationPortRange', value: range } } },
      ],
      filterChains: [{ filters: [echoFilter] }],
    } as Init),
    context,
  );
  const socket = await dial(t, port);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.equal(answer.toString(), 'hello');
});

test('a taken port is an error with its address', async (t) => {
  const on = manager(t);
  const context = testContext({ network_filter: [terminalExtension(echo)] });
  const one = { enableReusePort: false, filterChains: [{ filters: [echoFilter] }] };
  const port = await activate(on, listener(one as Init), context);
  await assert.rejects(
    activate(on, listener({ name: 'm', ...address('127.0.0.1', port), ...one } as Init), context),
    new RegExp(`cannot bind 127.0.0.1:${port}: .*EADDRINUSE`),
  );
});
