import { describe, expect, it } from '@jest/globals';
import { unaligned } from '../../consumers/alignment.ts';
import type { RawBatch } from '../../consumers/ports.ts';
import { type RecoveryParts, recover } from '../../consumers/recovery.ts';
import type { FeatureEngine } from '../../features/engine.ts';
import { featureStates, newRows } from '../../features/rows.ts';
import { batchOf, compileFor, createRun, type LogEvent, memoryStore } from '../support/feature-run.ts';

const hour = 3_600_000;
const groups = [{ entity: 'card', windows: ['1d'], aggregates: ['count'] }];
const set = compileFor(groups, { deduplication: { windowMs: hour, idsPerKey: 10 } });

const event = (id: string): LogEvent => ({ id, card: 'x', time: 1_700_000_000_000 });
const log = batchOf([event('a'), event('b')]);

/** The other shard, 0, has "a" and has ended: only shard 1 may be read. */
async function otherShard() {
  const store = memoryStore();
  const other = createRun(set, 1, store);
  await other.apply(event('a'));
  await other.reload();
  return store;
}

function shardOf(store: ReturnType<typeof memoryStore>, ancestors: readonly number[]): FeatureEngine {
  const { engine } = createRun(set, 0, store);
  engine.gain('log:1', 2, () => ancestors);
  engine.counted(2, [1]);
  return engine;
}

/** Recovers shard 1, which has "a" and "b". @returns what is told of the card once one more event has come. */
async function rowAfter(engine: FeatureEngine, of: Partial<RawBatch> = {}, alignment = unaligned) {
  const raw: RawBatch = { values: [null, null], keys: [], offsets: [0, 1], timestamps: [], next: 2, end: 2, ...of };
  const parts = {
    ownership: { stream: 'log', partition: 1, partitions: 2, readable: () => [1], read: async () => raw },
    decoder: { decode: () => ({ batch: log }) },
    engine,
    flusher: { published: async () => {} },
    alignment,
    observer: { recovering() {}, recovered() {} },
  } as unknown as RecoveryParts;
  await recover(parts, { fence: 0, earliest: 0, position: 2 }, () => false);

  const rows = newRows(1);
  const probe = batchOf([event('probe')], 2);
  engine.apply(probe, await engine.load(probe, 'log:1'), 'log:1', rows);
  return { count: rows.values[0], state: featureStates[rows.states[0]] };
}

const recovered = async (engine: FeatureEngine) => (await rowAfter(engine)).count;

describe('recovery', () => {
  it('leaves out what repeats a transaction of a shard that its own came from, as scoring did', async () => {
    expect(await recovered(shardOf(await otherShard(), [0]))).toBe(3);
  });

  it('keeps what was scored beside another shard that it does not come from and that has ended since', async () => {
    expect(await recovered(shardOf(await otherShard(), []))).toBe(4);
  });

  it('keeps what has a row of its own, whatever is known of ancestors by now', async () => {
    const store = await otherShard();
    const scoring = shardOf(store, []);
    const { isRepeat } = scoring.apply(log, await scoring.load(log, 'log:1'), 'log:1', newRows(1));
    expect([...isRepeat.subarray(0, 2)]).toEqual([0, 0]);
    const { changes } = scoring.takeChanges('log:1', 2);
    const ids = changes.filter(({ type }) => type === '@ids');
    await store.flush('log:1', ids, 0);
    expect(await recovered(shardOf(store, [0]))).toBe(4);
  });

  it('marks what the log has lost on the way, and says where the partition stands', async () => {
    const replayed: number[] = [];
    const alignment = { ...unaligned, replaying: ({ count }: { readonly count: number }) => void replayed.push(count) };
    const engine = () => shardOf(memoryStore(), []);
    expect(await rowAfter(engine(), {}, alignment)).toEqual({ count: 3, state: 'fresh' });
    expect(replayed).toEqual([2]);
    const lost = { from: 0, to: 1 };
    expect(await rowAfter(engine(), { lost })).toEqual({ count: 3, state: 'incomplete' });
  });
});
