import { once } from 'node:events';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import { systemClock } from '../../runtime/clock.ts';

/**
 * A process of its own that flushes until the store refuses, says so, waits for a word on standard input (`again`: it flushes once more, with
 * what was refused) and closes; what comes of each step is a line on standard output.
 */
const [path] = process.argv.slice(2);
const store = await createEmbeddedStore(
  { path },
  { job: 'test', recipe: '0123456789ab', retentionMs: () => 86_400_000, clock: systemClock },
);
const flush = (round: number) =>
  store.flush('t:0', [{ type: 'card', id: `id-${round}`, offset: round, bytes: Buffer.alloc(4_000) }], round);
const said = (step: Promise<void>, done: string) =>
  step.then(
    () => process.stdout.write(`${done}\n`),
    (error: Error) => process.stdout.write(`${error.message}\n`),
  );

let round = 1;
for (;;) {
  const refusal = await flush(round).then(
    () => undefined,
    (error: Error) => error,
  );
  if (refusal !== undefined) break;
  round++;
}
process.stdout.write('refused\n');
const [word] = (await once(process.stdin, 'data')) as [Buffer];
if (word.toString().trim() === 'again') await said(flush(round), `fence ${round}`);
await said(store.close(), 'closed');
process.exit();
