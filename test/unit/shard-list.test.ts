import type { KinesisClient, ListShardsCommand } from '@aws-sdk/client-kinesis';
import { describe, expect, it } from '@jest/globals';
import { kinesisSourceConfig } from '../../consumers/kinesis/config.ts';
import { newLease } from '../../consumers/kinesis/lease.ts';
import { listShards, startTime } from '../../consumers/kinesis/shard-list.ts';

const config = (more: object) => kinesisSourceConfig.parse({ stream: 'tx', application: 'app', ...more });
const lease = (sequence: string) => newLease('shardId-000000000007', { sequence, sub: 0 }, []);
const start_at = '2026-01-01T00:00:00Z';
const now = Date.parse('2026-01-02T00:00:00Z');

describe('where a shard begins that nobody has read', () => {
  it("is the config's time, or now where that is yet to come", () => {
    const at = config({ start: 'at-timestamp', start_at });
    expect(startTime(at, lease('AT_TIMESTAMP'), now)).toBe(Date.parse(start_at));
    expect(startTime(at, lease('AT_TIMESTAMP'), 1_000)).toBe(1_000);
    expect(startTime(config({ start: 'latest' }), lease('LATEST'), now)).toBe(now);
  });

  it('is not made up where the lease was made for a time that the config has no more', () => {
    for (const start of ['trim-horizon', 'latest']) {
      const message = expect.stringMatching(/shardId-000000000007 begins at a time.*start_at/);
      expect(() => startTime(config({ start }), lease('AT_TIMESTAMP'), now)).toThrow(
        expect.objectContaining({ code: 'INPUT', message }),
      );
    }
  });
});

describe('the shards that an application begins with', () => {
  const range = { StartingHashKey: '0', EndingHashKey: '9' };
  const shard = (ShardId: string, ParentShardId?: string) => ({ ShardId, ParentShardId, HashKeyRange: range });
  /** Kinesis, which has these shards, and of them those that were open at the time. */
  const asking = (all: readonly object[], open: readonly object[]) => {
    const send = async ({ input }: ListShardsCommand) => ({ Shards: input.ShardFilter === undefined ? all : open });
    const at = config({ start: 'at-timestamp', start_at });
    return listShards({ send } as unknown as KinesisClient, at);
  };
  const all = [shard('shardId-3', 'shardId-1'), shard('shardId-4', 'shardId-3'), shard('shardId-5', 'shardId-3')];

  it('are those that were open at its start', async () => {
    const { list } = asking(all, all.slice(1));
    expect((await list('initial')).map(({ id }) => id)).toEqual(['shardId-4', 'shardId-5']);
    expect(await list('all')).toHaveLength(3);
  });

  it('are the eldest that are left where its start is before all of them: else none would ever be read', async () => {
    const { list } = asking(all, []);
    expect((await list('initial')).map(({ id }) => id)).toEqual(['shardId-3']);
  });
});
