import { describe, expect, it } from '@jest/globals';
import { bruteForceFeatures, differences, type HandbookRow, readHandbook } from '../support/handbook.ts';
import { expectExactlyOnce, type PublishedRecord } from '../support/handbook-job.ts';
import { ended, endedWell, kafkaSuite } from '../support/suite.ts';

/** Nine weeks of a tenth of the customers. */
const rows = (await readHandbook(600_000)).filter(({ customer_id }) => Number(customer_id) % 10 === 0);
const wanted = bruteForceFeatures(rows);
const { createJob } = await kafkaSuite();

/** Partitions of 5, 10, 25 and 60 % of the customers: read at one pace, they are soon weeks apart. */
function unevenPartition({ customer_id }: HandbookRow): number {
  const share = (Number(customer_id) / 10) % 20;
  return [1, 3, 8].filter((bound) => share >= bound).length;
}

/** Works the backlog off with two processes, the second of which comes when the first is under way. */
async function workOff(name: string, ...settings: string[]): Promise<PublishedRecord[]> {
  const job = await createJob(name);
  await job.produce(rows, unevenPartition);
  const start = () => job.start(['run'], ['--until-end', ...settings.flatMap((setting) => ['--set', setting])]);
  const first = start();
  await job.waitForPublished(1_000);
  const second = start();
  for (const weir of [first, second]) endedWell(await ended(weir));
  const published = await job.published();
  expectExactlyOnce(published, rows, wanted);
  return published;
}

/**
 * Until what a process has gained is recovered, it says of its batches that they may lack something. They do not here: who hands a partition over
 * has stored all of it.
 */
const isMarked = ({ data }: PublishedRecord) => Object.values(data.feature_state).includes('stale');

/** Events of which some feature of the terminal, delayed by a week, is not what brute force says, whether it is marked or not. */
function wrongTerminals(published: readonly PublishedRecord[]): string[] {
  return published.flatMap(({ data }) =>
    differences(data.transaction_id, data.features, wanted.get(data.transaction_id)!, 'terminal.').slice(0, 1),
  );
}

describe('a backlog whose partitions are weeks apart, on two processes', () => {
  it('has the delayed features of shared terminals that brute force says in every event', async () => {
    const published = await workOff('in-step');
    expect(wrongTerminals(published)).toEqual([]);
    // Those of the last partition that are scored after the other process has ended, until what that had is recovered: none, or some batches.
    expect(published.filter(isMarked).length).toBeLessThan(rows.length / 10);
  }, 300_000);

  it('has not, where each partition goes at its own pace', async () => {
    expect(wrongTerminals(await workOff('out-of-step', 'alignment=false')).length).toBeGreaterThan(2_000);
  }, 300_000);
});
