import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ClosedStreams } from './closed_streams.ts';
import { canReceive, canSend, nextState, StreamEvent, StreamState } from './stream_state.ts';

const { idle, open, halfClosedLocal, halfClosedRemote, closed } = StreamState;

test('the transitions of RFC 9113 5.1', () => {
  const { headers, sendEnd, receiveEnd, reset } = StreamEvent;
  const cases: readonly (readonly [StreamState, StreamEvent, StreamState])[] = [
    [idle, headers, open],
    [open, sendEnd, halfClosedLocal],
    [open, receiveEnd, halfClosedRemote],
    [halfClosedLocal, receiveEnd, closed],
    [halfClosedRemote, sendEnd, closed],
    [open, reset, closed],
    [halfClosedLocal, reset, closed],
    [halfClosedRemote, reset, closed],
    [open, headers, open],
    [halfClosedLocal, headers, halfClosedLocal],
  ];
  for (const [from, event, to] of cases) assert.equal(nextState(from, event), to, `${from} ${event}`);
});

test('property: a closed stream stays closed; nobody sends after the end of its side', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...Object.values(StreamEvent))), (events) => {
      let state: StreamState = idle;
      let [ended, peerEnded] = [false, false];
      for (const event of events) {
        const before: StreamState = state;
        state = nextState(state, event);
        if (before === closed) assert.equal(state, closed);
        if (before !== idle && event === StreamEvent.sendEnd) ended = true;
        if (before !== idle && event === StreamEvent.receiveEnd) peerEnded = true;
        if (ended) assert.ok(!canSend(state));
        if (peerEnded) assert.ok(!canReceive(state));
      }
    }),
  );
});

test('closed streams are remembered up to a bound', () => {
  const streams = new ClosedStreams();
  assert.deepEqual([streams.ended(1), streams.endedByUs(1)], [false, false]);
  for (let id = 1; id < 200; id += 2) streams.add(id);
  assert.deepEqual([streams.ended(199), streams.ended(1)], [true, false]);
  for (let id = 1; id < 20_000; id += 2) streams.addEndedByUs(id);
  assert.deepEqual([streams.endedByUs(19_999), streams.endedByUs(1)], [true, false]);
});
