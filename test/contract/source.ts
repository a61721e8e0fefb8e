import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Ownership, partitionName, type RawBatch, type Source } from '../../consumers/ports.ts';

/** How a source adapter is put to the test. */
export interface SourceHarness {
  /** Makes a new stream of one partition that holds these records. */
  create(records: readonly SourceRecord[]): Promise<SourceFixture>;
  /** False where the medium has no keys (files): keys are then null. */
  readonly hasKeys: boolean;
  /** False where the position is kept by the sink alone. */
  readonly keepsCheckpoint: boolean;
}

export interface SourceRecord {
  readonly key: string | null;
  readonly value: string;
}

export interface SourceFixture {
  /** A source as a new process would make it. */
  open(options: { readonly maxEvents: number }): Source;
  /** Adds records behind the last; absent where a stream never grows. */
  append?(records: readonly SourceRecord[]): Promise<void>;
  /** Closes what the harness itself holds and removes the stream. */
  remove(): Promise<void>;
}

/** Records as a source gave them, batches joined. */
export interface Drained {
  readonly values: (string | null)[];
  readonly keys: (string | null)[];
  readonly offsets: number[];
  readonly sizes: number[];
  /** Position behind the last batch. */
  readonly next: number;
}

/** What the port promises, whatever the adapter. */
export function describeSourceContract(name: string, harness: SourceHarness): void {
  describe(`${name} keeps the source contract`, () => {
    const stop = { signal: new AbortController() };
    let closing: (() => Promise<void>)[] = [];
    beforeEach(() => {
      stop.signal = new AbortController();
    });
    afterEach(async () => {
      stop.signal.abort();
      for (const close of closing.reverse()) await close();
      closing = [];
    });

    async function create(records: readonly SourceRecord[]): Promise<SourceFixture> {
      const fixture = await harness.create(records);
      closing.push(() => fixture.remove());
      return fixture;
    }

    function open(fixture: SourceFixture, maxEvents = 100): Source {
      const source = fixture.open({ maxEvents });
      closing.push(() => source.close());
      return source;
    }

    const own = (source: Source) => firstOwnership(source, stop.signal.signal);

    it('gives every record once, in order, with rising offsets', async () => {
      const records = numbered(250);
      const ownership = await own(open(await create(records)));
      const { earliest } = await ownership.range();
      const drained = await drain(ownership, earliest);
      expect(drained.values).toEqual(records.map(({ value }) => value));
      expect(drained.keys).toEqual(records.map(({ key }) => (harness.hasKeys ? key : null)));
      expect(drained.offsets).toEqual([...drained.offsets].sort((a, b) => a - b));
      expect(new Set(drained.offsets).size).toBe(records.length);
      expect(drained.offsets[0]).toBeGreaterThanOrEqual(earliest);
      expect(drained.next).toBeGreaterThan(drained.offsets.at(-1)!);
    });

    it('keeps to the batch limit', async () => {
      const ownership = await own(open(await create(numbered(95)), 10));
      const drained = await drain(ownership, (await ownership.range()).earliest);
      expect(drained.values).toHaveLength(95);
      expect(Math.max(...drained.sizes)).toBe(10);
    });

    it('says who it is', async () => {
      const ownership = await own(open(await create(numbered(1))));
      expect(ownership).toMatchObject({ stream: expect.stringMatching(/./), partition: 0 });
      // Infinity where partitions come and go.
      expect([1, Number.POSITIVE_INFINITY]).toContain(ownership.partitions);
      expect(partitionName(ownership)).toBe(`${ownership.stream}:0`);
      expect(ownership.revoked.aborted).toBe(false);
    });

    it('goes back to any earlier position, and forward again', async () => {
      const ownership = await own(open(await create(numbered(60)), 7));
      const { earliest } = await ownership.range();
      const all = await drain(ownership, earliest);
      for (const from of [31, 0, 59]) {
        const again = await drain(ownership, all.offsets[from]);
        expect(again.values).toEqual(all.values.slice(from));
        expect(again.offsets).toEqual(all.offsets.slice(from));
      }
    });

    it('goes back in the middle of a stream of batches', async () => {
      const ownership = await own(open(await create(numbered(60)), 7));
      const { earliest } = await ownership.range();
      const first = await readSome(ownership, earliest);
      await readSome(ownership, first.next);
      const again = await readSome(ownership, earliest);
      expect(texts(again.values)).toEqual(texts(first.values));
    });

    it('goes on in another process where the first has stopped', async () => {
      const fixture = await create(numbered(40));
      const first = open(fixture, 15);
      const before = await own(first);
      const head = await readSome(before, (await before.range()).earliest);
      const values = texts(head.values);
      await first.close();
      const tail = await drain(await own(open(fixture, 15)), head.next);
      expect([...values, ...tail.values]).toEqual(numbered(40).map(({ value }) => value));
    });

    it('reads an empty stream: nothing comes, and its end is reached', async () => {
      const ownership = await own(open(await create([])));
      const { earliest } = await ownership.range();
      const drained = await drain(ownership, earliest);
      expect(drained.values).toEqual([]);
    });

    it('says where the stream ends', async () => {
      const ownership = await own(open(await create(numbered(20))));
      const { earliest, end } = await ownership.range();
      expect(end).toBeGreaterThan(earliest);
      const drained = await drain(ownership, earliest);
      // A medium that knows its end only once it is there (a compressed file) answers Infinity.
      if (Number.isFinite(end)) expect(drained.next).toBeGreaterThanOrEqual(end);
    });

    it('is fenced once it is closed', async () => {
      const source = open(await create(numbered(5)));
      const ownership = await own(source);
      const { earliest } = await ownership.range();
      await source.close();
      expect(ownership.revoked.aborted).toBe(true);
      await expect(ownership.read(earliest)).rejects.toMatchObject({ code: 'FENCED' });
    });

    it('closes twice without harm', async () => {
      const source = open(await create(numbered(1)));
      await own(source);
      await source.close();
      await source.close();
    });

    it('yields no more once the signal aborts', async () => {
      const source = open(await create(numbered(1)));
      const seen: Ownership[] = [];
      for await (const ownership of source.ownerships(stop.signal.signal)) {
        seen.push(ownership);
        stop.signal.abort();
      }
      expect(seen).toHaveLength(1);
    });

    it('gives a partition back', async () => {
      const ownership = await own(open(await create(numbered(3))));
      const { earliest } = await ownership.range();
      await ownership.release();
      await expect(ownership.read(earliest)).rejects.toMatchObject({ code: 'FENCED' });
    });

    if (harness.keepsCheckpoint) {
      it('keeps the checkpoint over processes', async () => {
        const fixture = await create(numbered(10));
        const first = open(fixture, 3);
        const ownership = await own(first);
        const beginning = (await ownership.checkpointed()) ?? (await ownership.range()).earliest;
        const one = await readSome(ownership, beginning);
        expect(texts(one.values)[0]).toBe('{"n":0}');
        const two = await readSome(ownership, one.next);
        const three = await readSome(ownership, two.next);
        await ownership.checkpoint(one.next);
        expect(await ownership.checkpointed()).toBe(one.next);
        await ownership.checkpoint(two.next);
        await first.close();
        await expect(ownership.checkpoint(three.next)).rejects.toMatchObject({ code: 'FENCED' });
        const later = await own(open(fixture));
        expect(await later.checkpointed()).toBe(two.next);
        expect(texts((await readSome(later, two.next)).values)[0]).toBe('{"n":6}');
      });
    }

    it('gives what is added later, where a stream grows', async () => {
      const fixture = await create(numbered(5));
      if (fixture.append === undefined) return;
      const ownership = await own(open(fixture));
      const before = await drain(ownership, (await ownership.range()).earliest);
      await fixture.append([{ key: 'k', value: 'later' }]);
      const after = await readSome(ownership, before.next);
      expect(texts(after.values)).toEqual(['later']);
    });
  });
}

export function numbered(count: number): SourceRecord[] {
  return Array.from({ length: count }, (_, index) => ({ key: `key-${index % 7}`, value: `{"n":${index}}` }));
}

/** The first partition that is gained; the source is asked for no further ones. */
export async function firstOwnership(source: Source, signal: AbortSignal): Promise<Ownership> {
  const next = await source.ownerships(signal)[Symbol.asyncIterator]().next();
  if (next.done === true) throw new Error('the source yielded no partition');
  return next.value;
}

/** Reads from the position until the log's end is reached. */
export async function drain(ownership: Ownership, from: number): Promise<Drained> {
  const drained = { values: [] as (string | null)[], keys: [] as (string | null)[], offsets: [] as number[] };
  const sizes: number[] = [];
  let at = from;
  for (;;) {
    const batch = await ownership.read(at);
    expectColumns(batch);
    drained.values.push(...texts(batch.values));
    drained.keys.push(...texts(batch.keys));
    drained.offsets.push(...batch.offsets);
    sizes.push(batch.values.length);
    expect(batch.next).toBeGreaterThanOrEqual(at);
    at = batch.next;
    if (at >= batch.end) return { ...drained, sizes, next: at };
  }
}

/** The next batch that is not empty. */
export async function readSome(ownership: Ownership, from: number): Promise<RawBatch> {
  let batch = await ownership.read(from);
  while (batch.values.length === 0) batch = await ownership.read(batch.next);
  return batch;
}

export function texts(column: readonly (Buffer | null)[]): (string | null)[] {
  return column.map((bytes) => bytes?.toString('utf8') ?? null);
}

function expectColumns(batch: RawBatch): void {
  const { length } = batch.values;
  expect([batch.keys.length, batch.offsets.length, batch.timestamps.length]).toEqual([length, length, length]);
  if (length > 0) expect(batch.next).toBeGreaterThan(batch.offsets[length - 1]);
}
