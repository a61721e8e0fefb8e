import { describe, expect, it } from '@jest/globals';
import { kinesisSourceConfig } from '../../consumers/kinesis/config.ts';
import { newLease } from '../../consumers/kinesis/lease.ts';
import { startTime } from '../../consumers/kinesis/shard-list.ts';

const config = (more: object) => kinesisSourceConfig.parse({ stream: 'tx', application: 'tx', ...more });
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
