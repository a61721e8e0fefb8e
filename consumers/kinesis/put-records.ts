import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { isThrottle } from './faults.ts';

export interface Entry {
  readonly partitionKey: string;
  readonly data: Buffer;
}

/** What became of each entry of a request, in its order: undefined when it was taken, else the error's code. */
export type PutAnswer = readonly (string | undefined)[];

export interface PutOptions {
  /** Puts entries by one request, at most `mostEntries` and `mostBytes` of them. */
  readonly put: (entries: readonly Entry[]) => Promise<PutAnswer>;
  readonly mostBytes: number;
  /** How long entries are tried again while none is taken, milliseconds. */
  readonly patienceMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Told how many entries were refused for too much throughput. */
  readonly onThrottled: (entries: number) => void;
}

const mostEntries = 500;
/** Requests under way at a time. */
const mostRequests = 4;
const firstWaitMs = 50;
const longestWaitMs = 5_000;

/** Entries that were still refused when patience had ended. */
export class RefusedEntries extends Error {
  constructor(count: number, code: string) {
    super(`${count} records were refused again and again, the last with ${code}`);
  }
}

/**
 * Puts all entries, those of each partition key in order: a request may take some of its entries and refuse others, so none has the same key
 * twice, and no key's next entry is sent before the one in front of it is taken. Only what was refused is sent again.
 * @throws RefusedEntries; and whatever `put` throws.
 */
export async function putInOrder(entries: readonly Entry[], options: PutOptions): Promise<void> {
  for (const round of rounds(entries)) await putRound(round, options);
}

/** The first entry of each key, then the second of each that has one, and so on. */
function rounds(entries: readonly Entry[]): Entry[][] {
  const seen = new Map<string, number>();
  const found: Entry[][] = [];
  for (const entry of entries) {
    const round = seen.get(entry.partitionKey) ?? 0;
    seen.set(entry.partitionKey, round + 1);
    if (found.length === round) found.push([]);
    found[round].push(entry);
  }
  return found;
}

/** Of what was refused as many are tried next as were taken last, then ever more: a stream that is full takes a few at a time. */
async function putRound(round: readonly Entry[], options: PutOptions): Promise<void> {
  const { clock, random, patienceMs } = options;
  let giveUpAt = clock.monotonic() + patienceMs;
  let left = round;
  let most = round.length;
  const backoff = createBackoff(firstWaitMs, longestWaitMs);
  for (;;) {
    const tried = left.slice(0, most);
    const refused = await putOnce(tried, options);
    left = [...refused.map(({ entry }) => entry), ...left.slice(most)];
    if (left.length === 0) return;
    const taken = tried.length - refused.length;
    if (taken > 0) {
      giveUpAt = clock.monotonic() + patienceMs;
      backoff.reset();
    }
    if (refused.length === 0) {
      most *= 2;
      continue;
    }
    const throttled = refused.filter(({ code }) => isThrottle(code)).length;
    if (throttled > 0) options.onThrottled(throttled);
    if (clock.monotonic() >= giveUpAt) throw new RefusedEntries(left.length, refused[0].code);
    most = Math.max(1, taken);
    await clock.sleep(backoff.next() * (0.5 + random.next()));
  }
}

interface Refused {
  readonly entry: Entry;
  readonly code: string;
}

async function putOnce(entries: readonly Entry[], { put, mostBytes }: PutOptions): Promise<Refused[]> {
  const requests = requestsOf(entries, mostBytes);
  const refused: Refused[] = [];
  for (let from = 0; from < requests.length; from += mostRequests) {
    const sent = requests.slice(from, from + mostRequests);
    const answers = await Promise.all(sent.map(put));
    for (const [request, codes] of answers.entries()) {
      for (const [index, code] of codes.entries())
        if (code !== undefined) refused.push({ entry: sent[request][index], code });
    }
  }
  return refused;
}

function requestsOf(entries: readonly Entry[], mostBytes: number): Entry[][] {
  const requests: Entry[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const size = entry.data.length + Buffer.byteLength(entry.partitionKey);
    if (bytes + size > mostBytes || requests[requests.length - 1].length === mostEntries) {
      requests.push([]);
      bytes = 0;
    }
    requests[requests.length - 1].push(entry);
    bytes += size;
  }
  return requests;
}
