import { expect, it } from '@jest/globals';
import { unaligned } from '../../consumers/alignment.ts';
import type { RawBatch } from '../../consumers/ports.ts';
import { type RecoveryParts, recover } from '../../consumers/recovery.ts';
import { newRows } from '../../features/rows.ts';
import { batchOf, compileFor, createRun, type LogEvent, memoryStore } from '../support/feature-run.ts';

const hour = 3_600_000;
const groups = [{ entity: 'card', windows: ['1d'], aggregates: ['count'] }];
const set = compileFor(groups, { deduplication: { windowMs: hour, idsPerKey: 10 } });

it('leaves out what repeats a transaction of a shard that was read to its end before, as scoring did', async () => {
  const event = (id: string): LogEvent => ({ id, card: 'x', time: 1_700_000_000_000 });
  const store = memoryStore();
  const parent = createRun(set, 1, store);
  await parent.apply(event('a'));
  await parent.reload();

  const { engine } = createRun(set, 0, store);
  engine.gain('log:1', 2);
  const raw: RawBatch = { values: [null, null], keys: [], offsets: [0, 1], timestamps: [], next: 2, end: 2 };
  const parts = {
    ownership: { stream: 'log', partition: 1, partitions: 2, readable: () => [1], read: async () => raw },
    decoder: { decode: () => ({ batch: batchOf([event('a'), event('b')]) }) },
    engine,
    flusher: { published: async () => {} },
    alignment: unaligned,
    observer: { recovering() {}, recovered() {} },
  } as unknown as RecoveryParts;
  await recover(parts, { fence: 0, earliest: 0, position: 2 }, () => false);

  const rows = newRows(1);
  const probe = batchOf([event('probe')], 2);
  engine.apply(probe, await engine.load(probe, 'log:1'), 'log:1', rows);
  expect(rows.values[0]).toBe(3);
});
