import { describe, expect, it } from '@jest/globals';
import type { Ownership, RawBatch } from '../../consumers/ports.ts';
import { createShardWorld, type ShardWorld } from '../support/shard-world.ts';

describe('records that were deleted before they were read', () => {
  it('are told with the first that is left, and no others are', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    for (let record = 0; record < 3; record++) world.append(1);
    const former = world.own({ maxEvents: 2 });
    const { earliest } = await former.range();
    const read = await former.read(earliest);
    expect(read.lost).toBeUndefined();
    await former.checkpoint(read.next);
    await former.release();

    const unharmed = world.own({ maxEvents: 2 });
    const position = (await unharmed.checkpointed())!;
    expect((await unharmed.read(position)).lost).toBeUndefined();
    await unharmed.release();

    for (let record = 0; record < 3; record++) world.append(1);
    world.trim(4);
    const owner = world.own({});
    const batch = await owner.read(position);
    expect(batch.values.map(String)).toEqual(['4.0', '5.0']);
    expect(batch.lost).toEqual({ from: batch.offsets[0] - 1, to: batch.offsets[0] });
    expect((await owner.read(batch.next)).lost).toBeUndefined();
    await owner.release();
  });

  it('are told behind what was read before, where the log is cut ahead of who reads it, and leave the records that follow their own numbers', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    for (let record = 0; record < 40; record++) world.append(1);
    const owner = world.own({});
    let { earliest: at } = await owner.range();
    const read: string[] = [];
    const untilLost = async () => {
      for (;;) {
        const batch = await owner.read(at);
        if (batch.lost !== undefined || batch.values.some((value) => String(value) === '39.0')) return batch;
        at = batch.next;
        read.push(...batch.values.map(String));
      }
    };
    const first = await owner.read(at);
    at = first.next;
    await owner.checkpoint(at);
    world.trim(35);
    const behind = await untilLost();
    const readAhead = first.values.length + read.length;
    expect(readAhead).toBeLessThan(35);
    expect(read).toEqual(Array.from({ length: read.length }, (_, index) => `${first.values.length + index}.0`));
    expect(String(behind.values[0])).toBe('35.0');
    expect(behind.lost).toEqual({ from: behind.offsets[0] - 1, to: behind.offsets[0] });
    // A former owner may have given out any of those that are gone.
    expect(behind.offsets[0] - at).toBeGreaterThan(35 - readAhead);
    await owner.release();

    // Whoever comes after has not heard of it.
    const next = world.own({});
    const again = await next.read((await next.checkpointed())!);
    expect(again.values.map(String)[0]).toBe('35.0');
    expect(again.offsets[0]).toBe(behind.offsets[0]);
    expect(again.lost).toEqual(behind.lost);
    await next.checkpoint(again.next);
    expect((await next.read(again.next)).lost).toBeUndefined();
    await next.release();
  });

  it('are told also before the first checkpoint, by whoever gets to give out what follows', async () => {
    const world = createShardWorld('TRIM_HORIZON');
    for (let record = 0; record < 9; record++) world.append(1);
    const former = world.own({ maxEvents: 2 });
    const first = await former.read((await former.checkpointed())!);
    expect(first.lost).toBeUndefined();
    await former.release();
    world.trim(6);
    const told: RawBatch[] = [];
    for (let owners = 0; owners < 3; owners++) {
      const owner = world.own({});
      for (let at = (await owner.checkpointed())!; told.length === owners; ) {
        const batch = await owner.read(at);
        at = batch.next;
        if (batch.values.length > 0) told.push(batch);
      }
      await owner.release();
    }
    for (const { values, offsets, lost } of told) {
      expect(String(values[0])).toBe('6.0');
      expect(lost).toEqual({ from: offsets[0] - 1, to: offsets[0] });
    }
  });

  it('are none of those that came before the time at which the shard begins', async () => {
    const world = createShardWorld('LATEST');
    for (let record = 0; record < 9; record++) world.append(1);
    const owner = world.own({});
    let at = (await owner.checkpointed())!;
    for (let reads = 0; reads < 5; reads++) at = (await owner.read(at)).next;
    world.append(1);
    for (let given = 0; given === 0; ) {
      const { values, next, lost } = await owner.read(at);
      expect(lost).toBeUndefined();
      given = values.length;
      at = next;
    }
    await owner.release();
  });
});

describe('state that is made again from a log that is cut at that moment', () => {
  /** @returns a world of fifty records that a former owner has read, and their numbers. */
  async function readOnce(): Promise<{ world: ShardWorld; numbers: number[] }> {
    const world = createShardWorld('TRIM_HORIZON');
    for (let record = 0; record < 50; record++) world.append(1);
    const former = world.own({});
    const numbers: number[] = [];
    for (let at = (await former.range()).earliest; numbers.length < 50; ) {
      const { offsets, next } = await former.read(at);
      numbers.push(...offsets);
      at = next;
    }
    await former.checkpoint(numbers[49] + 1);
    await former.release();
    return { world, numbers };
  }

  async function firstFrom(ownership: Ownership, from: number): Promise<RawBatch> {
    for (let at = from; ; ) {
      const batch = await ownership.read(at);
      if (batch.values.length > 0) return batch;
      expect(batch).toMatchObject({ next: from });
      at = batch.next;
    }
  }

  it('begins with what is left, under its former number, and tells that there was more', async () => {
    const { world, numbers } = await readOnce();
    world.trim(20);
    let toDelete = 5;
    const owner = world.own({
      beforeWrite: () => {
        world.trim(toDelete);
        toDelete = 0;
      },
    });
    const { earliest } = await owner.range();
    expect(earliest).toBeLessThan(numbers[20]);
    const batch = await firstFrom(owner, earliest);
    expect(String(batch.values[0])).toBe('25.0');
    expect(batch.offsets[0]).toBe(numbers[25]);
    expect(batch.lost).toEqual({ from: numbers[25] - 1, to: numbers[25] });
    expect((await owner.read(batch.next)).lost).toBeUndefined();
    await owner.release();
  });

  it('gives no record another number where the one to count from is deleted before the first page', async () => {
    const { world, numbers } = await readOnce();
    world.trim(20);
    const first = world.own({});
    await firstFrom(first, (await first.range()).earliest);
    await first.release();

    const owner = world.own({});
    expect((await owner.range()).earliest).toBe(numbers[20]);
    world.trim(10);
    await expect(firstFrom(owner, numbers[35])).rejects.toMatchObject({ code: 'INPUT' });
    await owner.range();
    const batch = await firstFrom(owner, numbers[35]);
    expect(String(batch.values[0])).toBe('35.0');
    expect(batch.offsets[0]).toBe(numbers[35]);
    expect(batch.lost).toBeUndefined();
    await owner.release();
  });
});

describe('a checkpoint that somebody else has set, where the log is cut before it', () => {
  /** @returns a world that a former owner has read to its end, and the number of the first user record of each Kinesis record. */
  async function readOnce(users: readonly number[]): Promise<{ world: ShardWorld; numbers: number[] }> {
    const world = createShardWorld('TRIM_HORIZON');
    for (const count of users) world.append(count);
    const former = world.own({});
    const numbers: number[] = [];
    let at = (await former.range()).earliest;
    while (numbers.length < users.length) {
      const { values, offsets, next } = await former.read(at);
      numbers.push(...offsets.filter((_, index) => String(values[index]).endsWith('.0')));
      at = next;
    }
    await former.checkpoint(at);
    await former.release();
    return { world, numbers };
  }

  async function readFromCheckpoint(world: ShardWorld): Promise<RawBatch> {
    const owner = world.own({});
    const position = (await owner.checkpointed())!;
    await owner.range();
    for (let at = position; ; ) {
      const batch = await owner.read(at);
      at = batch.next;
      if (batch.values.length === 0) continue;
      await owner.release();
      return batch;
    }
  }

  it('is the number that its record had', async () => {
    const { world, numbers } = await readOnce(Array.from({ length: 50 }, () => 1));
    world.table.checkpoint = { sequence: world.records[30].sequence, sub: 0 };
    world.trim(10);
    const { values, offsets, lost } = await readFromCheckpoint(world);
    expect(String(values[0])).toBe('31.0');
    expect(offsets[0]).toBe(numbers[31]);
    expect(lost).toBeUndefined();
  });

  it.each([0, 9])(
    'leaves out nothing that is left, where its record is gone with so many before it: %d',
    async (before) => {
      const { world, numbers } = await readOnce(Array.from({ length: 30 }, (_, index) => (index === before ? 5 : 1)));
      world.table.checkpoint = { sequence: world.records[before].sequence, sub: 4 };
      world.trim(12);
      const { values, offsets, lost } = await readFromCheckpoint(world);
      expect(String(values[0])).toBe('12.0');
      expect(offsets[0]).toBe(numbers[12]);
      expect(lost).toEqual({ from: numbers[12] - 1, to: numbers[12] });
    },
  );
});
