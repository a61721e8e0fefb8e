import type { Clock } from '../runtime/clock.ts';
import type { Output, Ownership } from './ports.ts';

/** How often a partition that makes no headway is asked for its log's end. */
const askMs = 5_000;

/** Knows how far a partition is behind its log's end, also while it stands still. */
export interface LagWatch {
  /** The ownership and the output as they are to be used: what they answer is listened to. */
  ownership(of: Ownership): Ownership;
  output(of: Output): Output;
  /** All before the position is published. */
  published(position: number): void;
  stop(): void;
}

/**
 * A partition that scores learns its log's end with every fetch. One that waits (for the store, the broker, its turn) learns nothing, and it is
 * then that the lag is of interest: so the source is asked while nothing moves.
 * @param tell told the lag in records whenever it is found out.
 */
export function watchLag(clock: Clock, tell: (records: number) => void): LagWatch {
  let position = Number.NaN;
  let end = Number.NaN;
  let isMoving = false;
  let ask = async () => {};

  const told = () => {
    const lag = end - position;
    if (Number.isFinite(lag)) tell(Math.max(0, lag));
  };
  const reached = (newPosition: number) => {
    // Recovery reads what lies before the committed position again.
    if (!(newPosition <= position)) position = newPosition;
    told();
  };
  const ends = (newEnd: number) => {
    // An answer that was long on its way may be older than what is known.
    if (!(newEnd <= end)) end = newEnd;
    told();
  };
  let cancelTimer = () => {};
  const askLater = () => {
    cancelTimer = clock.after(askMs, () => {
      if (!isMoving) void ask();
      isMoving = false;
      askLater();
    });
  };
  askLater();

  return {
    ownership(of) {
      const range = async () => {
        const answer = await of.range();
        isMoving = true;
        ends(answer.end);
        return answer;
      };
      ask = () => range().then(undefined, () => undefined);
      return {
        ...of,
        get partitions() {
          return of.partitions;
        },
        range,
        async read(from) {
          reached(from);
          const raw = await of.read(from);
          ends(raw.end);
          if (raw.values.length === 0) {
            // Nothing was at hand: the source would have more otherwise.
            isMoving = true;
            reached(raw.next);
          }
          return raw;
        },
      };
    },
    output: (of) => ({
      ...of,
      async position() {
        const committed = await of.position();
        if (committed !== undefined) position = committed;
        told();
        return committed;
      },
    }),
    published(newPosition) {
      isMoving = true;
      reached(newPosition);
    },
    stop() {
      cancelTimer();
      ask = async () => {};
      tell = () => {};
    },
  };
}
