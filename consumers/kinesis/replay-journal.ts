import { randomBytes } from 'node:crypto';
import type { Clock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { type NewPlace, positionText, type ReplayMark, type StoredLetter } from '../stored-letter.ts';
import { compareSequences } from './positions.ts';
import type { RecordPlace } from './read-stream.ts';
import type { ReplaySign } from './stored-letter.ts';

/** What the dead-letter stream says of replays. */
export interface ReplayHistory {
  readonly marks: Map<string, NewPlace>;
  /** When a replay was about to put a record back whose mark is missing, by former position: milliseconds since the epoch. */
  readonly doubts: ReadonlyMap<string, number>;
}

export interface ReplayJournal extends ReplayHistory {
  /** @throws WeirError FENCED unless nobody else can have begun meanwhile; so does all that follows. */
  demandTurn(): void;
  /** Says that these records are about to be put back. */
  intend(letters: readonly StoredLetter[]): Promise<void>;
  mark(marks: readonly ReplayMark[]): Promise<void>;
  /** @param isSettled all that was to be put back is marked: the next one may begin at once. */
  close(isSettled: boolean): Promise<void>;
}

export interface JournalParts {
  readonly clock: Clock;
  /** Puts what a replay says of itself into the dead-letter stream; in one order with all that others say. */
  readonly say: (sign: Pick<ReplaySign, 'replay' | 'run' | 'records'>) => Promise<RecordPlace>;
  readonly putMarks: (marks: readonly ReplayMark[]) => Promise<void>;
  /** Reads the stream at least through that record. */
  readonly read: (
    through: RecordPlace,
    visit: (entry: { readonly mark: ReplayMark } | { readonly sign: ReplaySign }) => void,
  ) => Promise<void>;
}

/** After its last sign a replay puts nothing back for longer than that. */
const turnMs = 15_000;
/** A replay that was silent for so long is over: twice that, for requests that are under way. */
const silenceMs = 30_000;

/**
 * Takes the turn, unless another replay has it. Kinesis refuses nobody, so the order of what replays say decides: who has begun before and may be
 * at work still goes on, who comes later ends.
 * @throws WeirError FENCED when another one may be at work.
 */
export async function openReplayJournal({ clock, say, putMarks, read }: JournalParts): Promise<ReplayJournal> {
  const run = randomBytes(8).toString('hex');
  const closing = new AbortController();
  let turnEndsAt = clock.monotonic() + turnMs;

  function demandTurn(): void {
    if (clock.monotonic() < turnEndsAt) return;
    throw new WeirError(
      'FENCED',
      'this replay stood still for so long that somebody else may have begun one: what is not put back by now is left; the command may be run again',
    );
  }

  async function speak(replay: ReplaySign['replay'], records: ReplaySign['records'] = []): Promise<RecordPlace> {
    // Asked for before: a process that is stopped in between has not had the turn since.
    const askedAt = clock.monotonic();
    demandTurn();
    const place = await say({ replay, run, records });
    turnEndsAt = Math.max(turnEndsAt, askedAt + turnMs);
    return place;
  }

  async function stayAlive(): Promise<void> {
    while (await clock.sleep(turnMs / 4, closing.signal)) {
      if (closing.signal.aborted) return;
      // Who cannot say so loses the turn, and is told when it needs it.
      await speak('alive').catch(() => undefined);
    }
  }

  const begun = await speak('begun');
  const alive = stayAlive();
  const close = async (isSettled: boolean) => {
    closing.abort();
    await alive;
    // Unsaid, it only lets the next one wait.
    if (isSettled) await speak('ended').catch(() => undefined);
  };
  try {
    const marks = new Map<string, NewPlace>();
    const signs: ReplaySign[] = [];
    await read(begun, (entry) => {
      if ('mark' in entry) marks.set(positionText(entry.mark), entry.mark.replayed);
      else signs.push(entry.sign);
    });
    const other = otherAtWork(signs, run);
    if (other !== undefined) {
      const since = new Date(other.at).toISOString();
      throw new WeirError(
        'FENCED',
        `another replay is under way, or was ended before it was done; it last said so at ${since}: run the command again, ${silenceMs / 1000} s after that or when it is done`,
      );
    }
    const intend = (letters: readonly StoredLetter[]) => speak('putting', [...letters]).then(() => undefined);
    return { marks, doubts: doubtsIn(signs, marks), demandTurn, intend, mark: putMarks, close };
  } catch (error) {
    await close(true);
    throw error;
  }
}

/** The last sign of a replay that had begun before this one, and may not be over. */
function otherAtWork(signs: readonly ReplaySign[], run: string): ReplaySign | undefined {
  const own = signs.find((sign) => sign.run === run)!;
  const isBefore = (sign: ReplaySign) => compareSequences(sign.sequence, own.sequence) < 0;
  return [...Map.groupBy(signs, (sign) => sign.run).values()]
    .filter((of) => of[0].run !== run && of.some(isBefore))
    .filter((of) => !of.some((sign) => sign.replay === 'ended' && isBefore(sign)))
    .map((of) => of.reduce((last, sign) => (sign.at > last.at ? sign : last)))
    .find((last) => last.at > own.at - silenceMs);
}

function doubtsIn(signs: readonly ReplaySign[], marks: ReadonlyMap<string, NewPlace>): Map<string, number> {
  const doubts = new Map<string, number>();
  for (const { records, at } of signs) {
    for (const position of records.map(positionText)) {
      if (!marks.has(position)) doubts.set(position, Math.min(at, doubts.get(position) ?? at));
    }
  }
  return doubts;
}
