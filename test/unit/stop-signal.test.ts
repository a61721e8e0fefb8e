import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { type SignalSource, stopSignal } from '../../runtime/stop-signal.ts';

/** A process that can be sent signals, under a clock that stands still but for the test. */
function stoppable() {
  const emitter = new EventEmitter();
  const codes: number[] = [];
  const time = { ms: 5_000 };
  const from = Object.assign(emitter, { exit: (code: number) => codes.push(code) }) as SignalSource & EventEmitter;
  const signal = stopSignal({ monotonic: () => time.ms }, from);
  return { signal, codes, time, send: (name: string) => emitter.emit(name, name) };
}

describe('stopSignal', () => {
  it('takes a signal that comes twice within a second for one: npm and the terminal both send it', () => {
    const { signal, codes, time, send } = stoppable();
    send('SIGINT');
    expect(signal.aborted).toBe(true);
    send('SIGINT');
    time.ms += 999;
    send('SIGINT');
    expect(codes).toEqual([]);
  });

  it('ends at once at a later one', () => {
    const { codes, time, send } = stoppable();
    send('SIGTERM');
    time.ms += 1_000;
    send('SIGINT');
    send('SIGTERM');
    expect(codes).toEqual([130, 143]);
  });

  it('drains when the supervisor is gone, and then ends at once at a signal', () => {
    const { signal, codes, send } = stoppable();
    send('disconnect');
    expect(signal.aborted).toBe(true);
    send('SIGINT');
    expect(codes).toEqual([130]);
  });
});
