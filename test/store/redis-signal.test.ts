import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { redisStoreConfig } from '../../features/redis/config.ts';
import { createRedisSignal } from '../../features/redis/signal.ts';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { systemClock } from '../../runtime/clock.ts';
import { until } from '../support/memory-stream.ts';

let redis: RedisService;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis?.stop());

/** Counts what it hears. */
async function listener(subject: string) {
  const signal = await createRedisSignal(redisStoreConfig.parse({ url: redis.url }), {
    job: 'test',
    subject,
    clock: systemClock,
  });
  let heard = 0;
  signal.listen(() => heard++);
  return { ...signal, heard: () => heard };
}

describe('a signal through Redis', () => {
  it('is heard by the others that listen for it, each time that it is given, and by nobody else', async () => {
    const giver = await listener('leases:one');
    await giver.give();
    const [other, deaf] = [await listener('leases:one'), await listener('leases:two')];
    await giver.give();
    await until(() => other.heard() === 1);
    await giver.give();
    await until(() => other.heard() === 2);
    // What the other gives, the giver hears: by then it has looked, and not heard itself.
    await other.give();
    await until(() => giver.heard() === 1);
    expect(other.heard()).toBe(2);
    expect(deaf.heard()).toBe(0);
    await Promise.all([giver, other, deaf].map((one) => one.close()));
  });

  it('may be for one of them, about several things, of each the last word that it has not heard, and heard once', async () => {
    const [teller, one, two] = await Promise.all(Array.from({ length: 3 }, () => listener('leases:four')));
    await teller.tell('one', 'a', 'first');
    await teller.tell('one', 'a', 'second');
    await teller.tell('one', 'b', '');
    const told: string[][] = [];
    const others: string[] = [];
    two.hear('two', (about) => others.push(about));
    one.hear('one', (about, word) => told.push([about, word]));
    await until(() => told.length === 2);
    expect(told.sort()).toEqual([
      ['a', 'second'],
      ['b', ''],
    ]);
    await teller.tell('one', 'a', 'third');
    await until(() => told.length === 3);
    expect(told[2]).toEqual(['a', 'third']);
    await teller.tell('two', 'd', '');
    await until(() => others.length === 1);
    expect([others, told.length, one.heard()]).toEqual([['d'], 3, 0]);
    await Promise.all([teller, one, two].map((signal) => signal.close()));
  });

  it('is given by the time that it is closed, and fails nobody when Redis is away', async () => {
    const [giver, other] = [await listener('leases:three'), await listener('leases:three')];
    void giver.give();
    await giver.close();
    await until(() => other.heard() === 1);
    await redis.stop();
    await other.give();
    await other.tell('giver', 'a', 'b');
    await other.close();
  });
});
