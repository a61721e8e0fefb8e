import { WeirError } from '../runtime/errors.ts';
import type { CompiledJob } from './compile.ts';
import { openSource, type Surroundings } from './components.ts';
import { createDecoder } from './decode/decoder.ts';
import { type Ownership, partitionName } from './ports.ts';

/**
 * Looks where the partitions of the job's topic begin.
 * @returns by partition's name the event time of its first event, milliseconds since the epoch; without those that have none.
 */
export async function logBeginnings(
  { config }: CompiledJob,
  options: Surroundings & { readonly signal: AbortSignal },
): Promise<Map<string, number>> {
  const { kafka } = config.source;
  const beginnings = new Map<string, number>();
  if (kafka === undefined) return beginnings;
  // All partitions are wanted here, so it shares them with nobody.
  const alone = { ...kafka, group: `${kafka.group}.backfill-file` };
  const source = await openSource({ config: { ...config, source: { kafka: alone } } }, options);
  const looked = new Set<number>();
  try {
    for await (const ownership of source.ownerships(options.signal)) {
      const time = await firstTime(ownership, config.event, options.signal).catch(ifRevoked);
      if (time === 'revoked') continue;
      if (time !== undefined) beginnings.set(partitionName(ownership), time);
      looked.add(ownership.partition);
      if (looked.size >= ownership.partitions) break;
    }
  } finally {
    await source.close();
  }
  return beginnings;
}

async function firstTime(
  ownership: Ownership,
  event: CompiledJob['config']['event'],
  signal: AbortSignal,
): Promise<number | undefined> {
  const decoder = createDecoder(event, ownership.format);
  const { earliest, end } = await ownership.range();
  for (let at = earliest; at < end && !signal.aborted; ) {
    const raw = await ownership.read(at);
    const { batch } = decoder.decode(raw, ownership);
    if (batch.count > 0) return batch.times[0];
    at = raw.next;
  }
  return undefined;
}

/** The partition comes again. */
function ifRevoked(error: unknown): 'revoked' {
  if (error instanceof WeirError && error.code === 'FENCED') return 'revoked';
  throw error;
}
