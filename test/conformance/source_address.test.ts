/** PROXY protocol in and out, with TLVs; connections from the client's own address (original_src). */
import assert from 'node:assert/strict';
import { conformance } from '../harness/conformance.ts';
import { TcpServers, converse } from '../harness/tcp_client.ts';

const servers = new TcpServers();
const signature = '0d0a0d0a000d0a515549540a';
const addresses = '0a0000010a000002270f0050';
const tlv = (type: string, text: string): string =>
  type + text.length.toString(16).padStart(4, '0') + Buffer.from(text).toString('hex');
const binary = (tlvs: string): string =>
  `${signature}2111${(12 + tlvs.length / 2).toString(16).padStart(4, '0')}${addresses}${tlvs}`;
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

conformance(import.meta.filename, {
  rows: ['5.38'],
  backends: [],
  setUp: async () => ({
    // Answers in hex what it got in the first 300 milliseconds.
    hex: await servers.start((socket) => {
      const chunks: Buffer[] = [];
      socket.on('data', (data: Buffer) => chunks.push(data));
      setTimeout(() => socket.end(Buffer.concat(chunks).toString('hex')), 300);
    }),
    who: await servers.start((socket) => void socket.end(socket.remoteAddress ?? '')),
  }),
  tearDown: () => servers.stop(),
  cases: {
    'a binary header, some of its TLVs go on': async (run) => {
      const tlvs = tlv('e0', 'on') + tlv('e1', 'here') + tlv('e2', 'no');
      const write = Buffer.concat([bytes(binary(tlvs)), Buffer.from('hi')]);
      const { text } = await converse(run.port('in'), { write, end: false });
      assert.equal(text, binary(tlv('e0', 'on')) + Buffer.from('hi').toString('hex'));
      const [line] = await run.lines('in.log', 1);
      assert.equal(line, '10.0.0.1:9999 10.0.0.2:80 here');
    },
    'a text header becomes a binary one': async (run) => {
      const write = 'PROXY TCP6 2001:db8::1 ::1 9999 80\r\nhi';
      const { text } = await converse(run.port('in'), { write, end: false });
      const six = `20010db8${'0'.repeat(23)}1${'0'.repeat(31)}1270f0050`;
      assert.equal(text, `${signature}21210024${six}6869`);
    },
    'a binary header becomes a text one': async (run) => {
      const write = Buffer.concat([bytes(binary('')), Buffer.from('hi')]);
      const { text } = await converse(run.port('in_v1'), { write, end: false });
      assert.equal(bytes(text).toString(), 'PROXY TCP4 10.0.0.1 10.0.0.2 9999 80\r\nhi');
    },
    'without a header from the client: its own address': async (run) => {
      const { text } = await converse(run.port('plain'), {
        write: 'hi',
        end: false,
        localAddress: '127.0.0.9',
      });
      const port = run.port('plain');
      assert.match(
        bytes(text).toString(),
        new RegExp(`^PROXY TCP4 127\\.0\\.0\\.9 127\\.0\\.0\\.1 \\d+ ${port}\r\nhi$`),
      );
    },
    'a header that must be there, may be there, may not be of that version': async (run) => {
      assert.equal(
        (await converse(run.port('in'), { write: 'GET / HTTP/1.1\r\n\r\n', end: false })).text,
        '',
      );
      const none = await converse(run.port('optional'), { write: 'hi', end: false });
      assert.equal(bytes(none.text).toString(), 'hi');
      const write = Buffer.concat([bytes(binary('')), Buffer.from('hi')]);
      assert.equal(
        bytes((await converse(run.port('optional'), { write, end: false })).text).toString(),
        'hi',
      );
      assert.equal(
        (await converse(run.port('in'), { write: 'PROXY TCP4 x y 1 2\r\nhi', end: false })).text,
        '',
      );
    },
    'LOCAL tells of nobody': async (run) => {
      const write = Buffer.concat([bytes(`${signature}20000000`), Buffer.from('hi')]);
      const { text } = await converse(run.port('in_v1'), { write, end: false });
      assert.match(bytes(text).toString(), /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\nhi$/);
    },
    // Needs CAP_NET_ADMIN (IP_TRANSPARENT): without it both refuse the connection.
    'the application sees the client itself': async (run) => {
      const { text } = await converse(run.port('keeps'), { end: false, localAddress: '127.0.0.77' });
      assert.equal(text, process.getuid?.() === 0 ? '127.0.0.77' : '');
    },
  },
});
