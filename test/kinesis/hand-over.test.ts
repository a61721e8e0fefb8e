import { describe, expect, it } from '@jest/globals';
import { openLeaseTable } from '../../consumers/kinesis/dynamo-lease-table.ts';
import { systemClock } from '../../runtime/clock.ts';
import { readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import { kinesisSuite } from '../support/suite.ts';

const shards = 4;
const rows = (await readHandbook(6_000)).map(handbookRecord);
const { kinesis, dynamo, env, start, expectNoFault } = await kinesisSuite();

const settings = {
  'source.kinesis.stream': 'input',
  'source.kinesis.application': 'shared',
  // Nobody is taken for dead, nor stolen from, who stands still because the machine does.
  'source.kinesis.failover_time_ms': 30_000,
  // Whoever is stolen from has published long since what it has not checkpointed.
  'source.kinesis.checkpoint_interval_ms': 10_000,
  'source.kinesis.poll_interval_ms': 200,
  'sink.kinesis.stream': 'output',
  'sink.kinesis.dead_letters': 'dead',
  'state.redis.command_timeout_ms': 60_000,
  'metrics.port': 0,
  'log.level': 'info',
};
const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
const startOne = () => start(['run', '--config', 'examples/handbook/kinesis.yaml', ...overrides], env);

/** All transactions that were published by now, as often as they were. */
function watchPublished(): () => Promise<readonly string[]> {
  const more = kinesis.follow('output');
  const ids: string[] = [];
  return async () => {
    for (const { value } of await more()) ids.push(JSON.parse(value).data.transaction_id);
    return ids;
  };
}

describe('a process that joins another one under load', () => {
  it('gets its share of the shards, and no event is published twice', async () => {
    await kinesis.createStream('input', shards);
    for (const stream of ['output', 'dead']) await kinesis.createStream(stream, 1);
    const table = await openLeaseTable(dynamo, 'shared', systemClock);
    const owners = async () => {
      const leases = await table.list();
      return leases.map(({ owner }) => owner).sort();
    };
    const published = watchPublished();
    let put = 0;
    const putSome = async () => {
      const some = rows.slice(put, put + 50);
      put += some.length;
      await kinesis.put('input', some);
      expectNoFault();
    };

    startOne();
    while (new Set(await published()).size < 500) await putSome();
    startOne();
    for (let shared = false; !shared; ) {
      await putSome();
      const found = await owners();
      shared = new Set(found).size === 2 && found[1] !== found[2] && !found.includes(undefined);
    }
    // Those that have come to the second process.
    for (let n = 0; n < 5; n++) await putSome();
    while (new Set(await published()).size < put) await systemClock.sleep(200);

    const ids = await published();
    expect({ distinct: new Set(ids).size, all: ids.length }).toEqual({ distinct: put, all: put });
  }, 240_000);
});
