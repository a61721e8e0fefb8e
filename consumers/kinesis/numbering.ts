import {
  type Anchor,
  anchorsOf,
  compareSequences,
  firstNumber,
  isOrigin,
  type KeptPositions,
  lostGap,
  type Place,
  reachBack,
} from './positions.ts';

/** Numbers the user records of a shard's log on the way along it. */
export interface Numbering {
  /** The least number that the next user record can get. */
  readonly next: number;
  /**
   * The numbers of a Kinesis record; to be asked for each, in log order.
   * @param arrivedAt milliseconds since the epoch.
   * @param users how many user records it has.
   */
  place(sequence: string, arrivedAt: number, users: number): Place;
  /** Whether the last number was not counted from an anchor: it has to be made one before the record is given out. */
  readonly isUnanchored: boolean;
  /** Whether the last number is too low: the anchor before the record did not come, and it is to be counted back from the next one. */
  readonly isCut: boolean;
  /**
   * What followed the last record may be gone, with numbers that a former owner has given it: what comes next gets higher ones.
   * @returns whether it can. Before an anchor it would have to be counted back from there.
   */
  passGap(): boolean;
  /** The log's end is reached: a beginning by time lies behind what was read. */
  reachEnd(): void;
}

/**
 * @param from the anchor that reading begins at; undefined: at the log's beginning.
 */
export function createNumbering(kept: KeptPositions, from: Anchor | undefined): Numbering {
  const anchors = anchorsOf(kept);
  const origin =
    isOrigin(kept.checkpoint) && anchors.every(({ number }) => number < firstNumber) ? kept.checkpoint : undefined;
  let ahead = from === undefined ? 0 : anchors.findIndex(({ sequence }) => sequence === from.sequence);
  let next = from?.number ?? beginning(anchors, origin !== undefined);
  let isCounting = false;
  let isUnanchored = false;
  let isCut = false;
  let isBeforeOrigin = origin !== undefined;

  /** Takes over the number of every anchor that the record is at, or behind although its own record did not come. */
  function passAnchors(sequence: string): void {
    for (; ahead < anchors.length; ahead++) {
      const anchor = anchors[ahead];
      const order = compareSequences(anchor.sequence, sequence);
      if (order > 0) return;
      const isLast = ahead === anchors.length - 1 && !isBeforeOrigin;
      next = Math.max(next, order === 0 ? anchor.number : anchor.number + (isLast ? lostGap : anchor.users));
      isCounting = order === 0;
    }
  }

  function passOrigin(): void {
    if (!isBeforeOrigin) return;
    isBeforeOrigin = false;
    next = Math.max(next, origin!.number);
    isCounting = false;
  }

  return {
    get next() {
      return next;
    },
    get isUnanchored() {
      return isUnanchored;
    },
    get isCut() {
      return isCut;
    },
    place(sequence, arrivedAt, users) {
      if (ahead < anchors.length) passAnchors(sequence);
      isCut = !isCounting && ahead > 0 && ahead < anchors.length && !anchors[ahead].isJump;
      if (isBeforeOrigin && arrivedAt >= origin!.time) passOrigin();
      isUnanchored = !isCounting;
      isCounting = true;
      const place = { number: next, users: Math.max(1, users), sequence };
      next += place.users;
      return place;
    },
    passGap() {
      if (ahead < anchors.length) return false;
      next += lostGap;
      isCounting = false;
      return true;
    },
    reachEnd: passOrigin,
  };
}

function beginning(anchors: readonly Anchor[], hasOrigin: boolean): number {
  const least = anchors[0]?.number ?? firstNumber;
  return anchors.length > 0 || hasOrigin ? least - reachBack : least;
}
