import { createFileSink } from '../../consumers/file/sink.ts';
import type { DeadLetter, OutputEvent, Ownership } from '../../consumers/ports.ts';

/**
 * A process that publishes the records from the committed position to `total`, every seventh as a dead letter, and says on standard
 * output how far it is: `sink-writer.ts <path> <dead letters> <total>`. Batches are of all sizes; some are committed early.
 */
const [path, dead_letters, total] = process.argv.slice(2);
const sink = createFileSink({ path, dead_letters }, { job: 'writer' });
try {
  const output = await sink.open({ stream: 'input', partition: 0 } as Ownership);
  let position = (await output.position()) ?? 0;
  process.stdout.write(`from ${position}\n`);
  for (let batch = 1; position < Number(total); batch++) {
    const offsets = Array.from(
      { length: Math.min((batch * 7919) % 300, Number(total) - position) },
      (_, k) => position + k,
    );
    const isBad = (offset: number) => offset % 7 === 0;
    await output.publish(
      {
        events: offsets.filter((offset) => !isBad(offset)).map(event),
        deadLetters: offsets.filter(isBad).map(deadLetter),
      },
      position + offsets.length,
    );
    position += offsets.length;
    if (batch % 5 === 0) await output.sync!();
    process.stdout.write(`at ${position}\n`);
  }
  await sink.close();
} catch (error) {
  process.stdout.write(`${(error as { code: string }).code}: ${(error as Error).message}\n`);
  await sink.close();
  process.exitCode = 1;
}

function event(offset: number): OutputEvent {
  const data = Buffer.from(JSON.stringify({ offset, text: 'größer' }));
  return { key: null, id: `input:0:${offset}`, time: new Date(offset).toISOString(), data };
}

function deadLetter(offset: number): DeadLetter {
  const value = Buffer.of(offset % 256);
  const at = { stream: 'input', partition: 0, offset, timestamp: Number.NaN };
  return { key: null, value, reason: 'not-json', message: 'not JSON', ...at };
}
