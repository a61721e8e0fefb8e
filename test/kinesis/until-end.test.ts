import { SplitShardCommand } from '@aws-sdk/client-kinesis';
import { expect, it } from '@jest/globals';
import { readHandbook } from '../support/handbook.ts';
import { handbookRecord } from '../support/handbook-job.ts';
import { untilResharded } from '../support/kinesis.ts';
import { endedWell, kinesisSuite } from '../support/suite.ts';

const rows = await readHandbook(200);
const { kinesis, env, run } = await kinesisSuite();

it('reads to the present end of a stream what lies behind a split as well', async () => {
  const name = 'until-end';
  const settings = {
    job: name,
    'source.kinesis.stream': name,
    'source.kinesis.application': name,
    'sink.kinesis.stream': `${name}-scored`,
    'sink.kinesis.dead_letters': `${name}-dead`,
    'state.redis.connect_timeout_ms': 1_000,
    'metrics.port': 0,
    'log.level': 'warn',
  };
  const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  await kinesis.createStream(name, 1);
  await kinesis.createStream(`${name}-scored`, 1);
  await kinesis.createStream(`${name}-dead`, 1);
  await kinesis.put(name, rows.slice(0, 100).map(handbookRecord));
  const NewStartingHashKey = String(2n ** 127n);
  await kinesis.client.send(
    new SplitShardCommand({ StreamName: name, ShardToSplit: 'shardId-000000000000', NewStartingHashKey }),
  );
  await untilResharded(kinesis.client, name, 2);
  await kinesis.put(name, rows.slice(100).map(handbookRecord));

  endedWell(await run(['run', '--config', 'examples/handbook/kinesis.yaml', '--until-end', ...set], env));

  const scored = await kinesis.read(`${name}-scored`);
  expect(new Set(scored.map(({ value }) => JSON.parse(value).data.transaction_id)).size).toBe(rows.length);
});
