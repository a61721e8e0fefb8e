import { createEmbeddedStore } from '../../features/embedded/store.ts';
import { systemClock } from '../../runtime/clock.ts';

/**
 * A process of its own that flushes without end: in round k every entity gets the offset k, then the fence is k. Prints each fence that
 * is confirmed.
 */
const [path, count] = process.argv.slice(2);
const store = await createEmbeddedStore(
  { path },
  { job: 'test', recipe: '0123456789ab', retentionMs: () => 86_400_000, clock: systemClock },
);
for (let round = ((await store.fence('t:0')) ?? 0) + 1; ; round++) {
  const bytes = Buffer.from(`round ${round}`.padEnd(200, '.'));
  const changes = Array.from({ length: Number(count) }, (_, k) => ({
    type: 'card',
    id: `id-${(k * 7_919) % 100_000}`,
    offset: round,
    bytes,
  }));
  await store.flush('t:0', changes, round);
  process.stdout.write(`${round}\n`);
}
