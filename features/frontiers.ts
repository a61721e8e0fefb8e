import type { Clock } from '../runtime/clock.ts';
import {
  decodeFrontier,
  type Frontier,
  type FrontierState,
  frontierChange,
  frontierId,
  frontierType,
} from './frontier.ts';
import type { LoadedEntity, StateStore, SubStateChange } from './store.ts';

/**
 * How far each partition has come in event time: those owned here as they are in memory, all others as their owners have stored it, with the
 * state that it stands for. A stored frontier becomes visible only after that state.
 */
export interface Frontiers {
  own(partition: string): void;
  disown(partition: string): void;
  /** How often a partition was disowned. */
  losses(): number;
  /** Where an owned partition stands now. */
  say(partition: string, time: number, state: FrontierState): void;
  /** What is to be stored of an owned partition with all that is applied, which is what its log has before the offset; nothing while it has said nothing. */
  take(partition: string, through: number): SubStateChange[];
  /** What was last taken of an owned partition. */
  taken(partition: string): Frontier | undefined;
  of(partition: string): Frontier | undefined;
  owns(partition: string): boolean;
  /** When the partition last showed that it gets on, or is kept from it by others; monotonic milliseconds. The first time: now. */
  movedAt(partition: string): number;
  /** Reads what others have stored. */
  learn(): Promise<void>;
  /** Milliseconds since the last time it was read; Infinity where partitions were lost since. */
  ageMs(): number;
  /** Calls back whenever anything changes, until the answer is called. */
  listen(onChange: () => void): () => void;
  /** Stands for what others had stored when it was last read: whatever is loaded after that holds it. */
  sight(): number;
  /**
   * The log offset (exclusive) through which another partition's state was all stored, as its frontiers have said at the furthest: a store that has
   * less has lost some. -1: not known, or owned.
   */
  storedThrough(partition: string): number;
  /** What was loaded at that sight may miss others' events from this time on, which are stored by now; Infinity: none. */
  missesFrom(sight: number): number;
}

interface Known {
  readonly frontier: Frontier;
  /** Of the stored frontier; 0 where it is this process's own. */
  readonly offset: number;
  /** The furthest that the stored frontiers have said; -1: none. */
  readonly through: number;
  readonly movedAt: number;
}

/** Sights that are told apart; what is older counts as having seen nothing. */
const sightsKept = 256;

export function createFrontiers(store: StateStore, clock: Clock): Frontiers {
  /** By owned partition: the offset of what is stored last, and what was last taken. */
  const owned = new Map<string, { offset: number; hasSaid: boolean; taken: Frontier | undefined }>();
  const facts = new Map<string, Known>();
  const firstAsked = new Map<string, number>();
  const listeners = new Set<() => void>();
  const misses = createMisses();
  let version = 0;
  let learntAt = Number.NEGATIVE_INFINITY;
  let learning: Promise<void> | undefined;
  /** Goes up whenever a partition is gained or lost: an answer from before says too little of it. */
  let epoch = 0;
  let losses = 0;

  function note(partition: string, frontier: Frontier, offset: number, through: number): void {
    const before = facts.get(partition);
    const last = before?.frontier;
    const hasMoved =
      last === undefined ||
      last.time !== frontier.time ||
      last.state !== frontier.state ||
      (frontier.state === 'waiting' && last.saidAt !== frontier.saidAt);
    facts.set(partition, {
      frontier,
      offset,
      // A partition that makes its state anew says less than it did, and what was read by its former frontier is to be there still.
      through: Math.max(before?.through ?? -1, through),
      movedAt: hasMoved ? clock.monotonic() : before!.movedAt,
    });
  }

  function changed(): void {
    for (const listener of listeners) listener();
  }

  async function load(): Promise<void> {
    let asked: number;
    let askedAt: number;
    let answer: LoadedEntity;
    do {
      asked = epoch;
      askedAt = clock.monotonic();
      [answer] = await store.load([{ type: frontierType, id: frontierId, version }], new Set());
    } while (asked !== epoch);
    adopt(answer);
    version = answer.version;
    learntAt = askedAt;
    if (answer.subStates.length > 0) changed();
  }

  function adopt(answer: LoadedEntity): void {
    let missesFrom = Number.POSITIVE_INFINITY;
    for (const { partition, offset, bytes } of answer.subStates) {
      const frontier = decodeFrontier(bytes);
      const own = owned.get(partition);
      if (own !== undefined) {
        own.offset = Math.max(own.offset, offset);
        if (!own.hasSaid) note(partition, frontier, 0, -1);
        continue;
      }
      const before = facts.get(partition);
      if (before?.offset === offset) continue;
      // Also at the same time: who was reading a batch and has read it to the end has stored more since.
      missesFrom = Math.min(missesFrom, before?.frontier.time ?? Number.NEGATIVE_INFINITY, frontier.time);
      note(partition, frontier, offset, frontier.through);
    }
    misses.since(missesFrom);
  }

  return {
    own(partition) {
      owned.set(partition, { offset: 0, hasSaid: false, taken: undefined });
      epoch++;
      version = 0;
    },
    disown(partition) {
      owned.delete(partition);
      facts.delete(partition);
      firstAsked.delete(partition);
      losses++;
      epoch++;
      version = 0;
      learntAt = Number.NEGATIVE_INFINITY;
      changed();
    },
    losses: () => losses,
    say(partition, time, state) {
      const own = owned.get(partition);
      if (own === undefined) return;
      const last = facts.get(partition)?.frontier;
      const isNews = !own.hasSaid || last?.time !== time || last.state !== state;
      own.hasSaid = true;
      if (!isNews) return;
      note(partition, { time, state, saidAt: clock.now() }, 0, -1);
      changed();
    },
    take(partition, through) {
      const own = owned.get(partition);
      if (!own?.hasSaid) return [];
      own.taken = { ...facts.get(partition)!.frontier, saidAt: clock.now() };
      own.offset++;
      return [frontierChange({ ...own.taken, through }, own.offset)];
    },
    taken: (partition) => owned.get(partition)?.taken,
    of: (partition) => facts.get(partition)?.frontier,
    owns: (partition) => owned.has(partition),
    movedAt(partition) {
      const known = facts.get(partition);
      if (known !== undefined) {
        const isHeldHere = owned.has(partition) && known.frontier.state === 'waiting';
        return isHeldHere ? clock.monotonic() : known.movedAt;
      }
      if (!firstAsked.has(partition)) firstAsked.set(partition, clock.monotonic());
      return firstAsked.get(partition)!;
    },
    learn() {
      learning ??= load().finally(() => {
        learning = undefined;
      });
      return learning;
    },
    ageMs: () => clock.monotonic() - learntAt,
    listen(onChange) {
      listeners.add(onChange);
      return () => listeners.delete(onChange);
    },
    storedThrough: (partition) => (owned.has(partition) ? -1 : (facts.get(partition)?.through ?? -1)),
    sight: misses.sight,
    missesFrom: misses.from,
  };
}

/** From which event time on each sight misses what was stored after it. */
function createMisses() {
  let newest = 0;
  /** Of the newest sight and those before it, by their number modulo the length. */
  const missing = new Float64Array(sightsKept).fill(Number.NEGATIVE_INFINITY);
  missing[0] = Number.POSITIVE_INFINITY;
  return {
    sight: () => newest,
    from(sight: number): number {
      return newest - sight < sightsKept ? missing[sight % sightsKept] : Number.NEGATIVE_INFINITY;
    },
    /** Events from the time on have been stored since the newest sight: a new one begins. */
    since(time: number): void {
      if (time === Number.POSITIVE_INFINITY) return;
      for (let k = 0; k < sightsKept; k++) missing[k] = Math.min(missing[k], time);
      newest++;
      missing[newest % sightsKept] = Number.POSITIVE_INFINITY;
    },
  };
}
