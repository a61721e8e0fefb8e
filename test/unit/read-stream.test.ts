import { GetShardIteratorCommand, type KinesisClient, ResourceNotFoundException } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { readStream } from '../../consumers/kinesis/read-stream.ts';
import type { Shard } from '../../consumers/kinesis/shards.ts';
import { clockAt } from '../support/clock.ts';

const id = (number: number) => `shardId-${String(number).padStart(12, '0')}`;
const shardOf = (number: number): Shard => ({
  id: id(number),
  parents: [],
  hashRange: { start: '0', end: '1' },
  isOpen: true,
});

/** A stream whose shards get a record a second for ever; requests take half of one. */
function growingStream(gone: readonly string[]) {
  let now = 100_000;
  const client = {
    async send(command: { readonly input: { readonly ShardId?: string; readonly ShardIterator?: string } }) {
      now += 500;
      const { ShardId, ShardIterator } = command.input;
      if (command instanceof GetShardIteratorCommand) {
        if (gone.includes(ShardId!)) throw new ResourceNotFoundException({ $metadata: {}, message: 'gone' });
        return { ShardIterator: '90' };
      }
      const second = Number(ShardIterator);
      return {
        Records: [
          {
            SequenceNumber: String(second),
            PartitionKey: 'k',
            Data: Buffer.from('{}'),
            ApproximateArrivalTimestamp: new Date(second * 1_000),
          },
        ],
        NextShardIterator: String(second + 1),
        MillisBehindLatest: Math.max(1, now - second * 1_000),
      };
    },
  } as unknown as KinesisClient;
  // Half an hour behind that of Kinesis.
  const clock = { ...clockAt(() => now - 1_800_000), sleep: async () => true };
  return { client, clock };
}

async function readAll(listed: readonly (readonly number[])[], gone: readonly string[] = []): Promise<string[]> {
  const { client, clock } = growingStream(gone);
  const lists = [...listed];
  const shards = async () => (lists.length > 1 ? lists.shift()! : lists[0]).map(shardOf);
  const read: string[] = [];
  await readStream(client, { stream: 's', shards, clock }, ({ sequence }, shard) => {
    read.push(`${Number(shard.slice(-3))}:${sequence}`);
  });
  return read;
}

describe('reading a stream as far as it reaches', () => {
  it('ends though records come for ever, and though this clock is wrong', async () => {
    // The end is at second 101 when the first record comes.
    expect(await readAll([[0]])).toEqual(Array.from({ length: 13 }, (_, index) => `0:${90 + index}`));
  });

  it('begins with the shards that others came from', async () => {
    const order = (await readAll([[10, 9, 2]])).map((text) => text.split(':')[0]);
    expect([...new Set(order)]).toEqual(['2', '9', '10']);
  });

  it('leaves out a shard that has left the stream since it was listed, and fails for one that is listed still', async () => {
    const left = await readAll([[0, 1], [1]], [id(0)]);
    expect(left.every((text) => text.startsWith('1:'))).toBe(true);
    expect(left.length).toBeGreaterThan(0);
    await expect(readAll([[0, 1]], [id(0)])).rejects.toMatchObject({ code: 'INPUT' });
  });
});
