import { WeirError } from '../../runtime/errors.ts';
import { type Checkpoint, isInitial } from './checkpoint.ts';

/**
 * The pipeline's positions are numbers, which have to rise along the log and to be the same for every owner of a shard; a Kinesis position
 * is a sequence number of 186 bits with a sub-sequence number. So user records are counted, from places of the log whose number is
 * fixed: the anchors, which the lease keeps beside its checkpoint.
 */

/** A Kinesis record and the numbers of its user records. */
export interface Place {
  /** Of the first. */
  readonly number: number;
  /** How many there are; one also where there is none, since a checkpoint may stand at it. */
  readonly users: number;
  readonly sequence: string;
}

/** A place that numbers are counted from: the user records behind it have those that follow. */
export interface Anchor extends Place {
  /** Counting from an anchor before it does not lead to its number: what lies between was gone, or was numbered from somewhere else. */
  readonly isJump: boolean;
}

/** Where a shard was begun: at the records that arrived from then on; time 0 is the log's beginning. */
export interface Origin {
  readonly number: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

/** What a lease keeps of numbers. */
export interface KeptPositions {
  /** The number of the record that the checkpoint was at when it was last made here, or where the shard begins. */
  readonly checkpoint: Place | Origin | undefined;
  /** In log order: places through which state was stored, the newest and ever fewer older ones, and those at which counting began. */
  readonly anchors: readonly Anchor[];
}

/** The two attributes of a lease item. The Kinesis Client Library leaves alone what it does not know. */
export interface PositionTexts {
  readonly weirCheckpoint?: string;
  readonly weirFence?: string;
}

/** The first record that a shard's first owner gives out. */
export const firstNumber = 2 ** 50;
/** What lies before the first anchor is numbered from so far below it: no shard's log has as many records. */
export const reachBack = 2 ** 40;
/** Behind a last anchor that is gone, records may have been given out under numbers that nobody knows any more; not as many. */
export const lostGap = 2 ** 32;

export function isOrigin(kept: KeptPositions['checkpoint']): kept is Origin {
  return kept !== undefined && 'time' in kept;
}

/** Negative when a comes before b: decimal numbers without leading zeros. */
export function compareSequences(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** All places whose number is fixed, in log order. */
export function anchorsOf({ checkpoint, anchors }: KeptPositions): readonly Anchor[] {
  if (checkpoint === undefined || isOrigin(checkpoint)) return anchors;
  return withAnchor(anchors, { ...checkpoint, isJump: false });
}

/** The last anchor at or before the sequence number; undefined where there is none. */
export function anchorBefore(anchors: readonly Anchor[], sequence: string): Anchor | undefined {
  return anchors.findLast((anchor) => compareSequences(anchor.sequence, sequence) <= 0);
}

/** What the lease's checkpoint says of the position from which records are to be given out. */
export type Standing =
  /** The position, undefined where nothing was read before; and what is to be kept from now on: the same object where that is nothing new. */
  | { readonly kind: 'known'; readonly position: number | undefined; readonly kept: KeptPositions }
  /** Another consumer has moved the checkpoint: its number is found by counting, from the anchor or, without, from the log's beginning. */
  | { readonly kind: 'moved'; readonly from: Anchor | undefined };

/**
 * @param startsAt the time at which a shard begins whose checkpoint says so, milliseconds since the epoch. It is kept: every later owner
 * would begin at another.
 */
export function standingOf(checkpoint: Checkpoint, kept: KeptPositions, startsAt: () => number): Standing {
  const { sequence, sub } = checkpoint;
  const last = kept.checkpoint;
  if (isInitial(checkpoint)) {
    if (isOrigin(last)) return { kind: 'known', position: last.number, kept };
    // Somebody has set the checkpoint back.
    if (last !== undefined) return { kind: 'known', position: undefined, kept };
    const origin = { number: firstNumber, time: sequence === 'TRIM_HORIZON' ? 0 : startsAt() };
    return { kind: 'known', position: firstNumber, kept: { ...kept, checkpoint: origin } };
  }
  const anchors = anchorsOf(kept);
  const from = anchorBefore(anchors, sequence);
  const isFirst = last === undefined && anchors.length === 0;
  if (!isFirst && from?.sequence !== sequence) return { kind: 'moved', from };
  const place = { number: from?.number ?? firstNumber, users: from?.users ?? sub + 1, sequence };
  const isKept = last !== undefined && !isOrigin(last) && last.sequence === sequence;
  return {
    kind: 'known',
    position: place.number + sub + 1,
    kept: isKept ? kept : { checkpoint: place, anchors },
  };
}

/** With one more, unless the place has a number. */
export function withAnchor(anchors: readonly Anchor[], added: Anchor): readonly Anchor[] {
  const before = anchors.findLastIndex(({ sequence }) => compareSequences(sequence, added.sequence) <= 0);
  if (before >= 0 && anchors[before].sequence === added.sequence) return anchors;
  return anchors.toSpliced(before + 1, 0, added);
}

/** With the place at which counting began anew: neither does the anchor before it lead there, nor it to the one behind. */
export function withBeginning(anchors: readonly Anchor[], place: Place): readonly Anchor[] {
  const added = withAnchor(anchors, { ...place, isJump: true });
  const next = added.findIndex(({ sequence }) => sequence === place.sequence) + 1;
  return added.map((anchor, index) => (index === next ? { ...anchor, isJump: true } : anchor));
}

/** Distances up to it are all the same. */
const nearest = 4_096;
const growth = 16;

/**
 * With the place through which the store has confirmed state, and of those before it one for every sixteenfold distance: a store that falls
 * back to an earlier state is repaired by counting from the place before that. The last before each jump stays: no other leads back to
 * what lies before it, once the log is cut there.
 */
export function withFence(anchors: readonly Anchor[], fence: Place): readonly Anchor[] {
  const added = withAnchor(anchors, { ...fence, isJump: false });
  const distances = new Set<number>();
  return added.filter(({ number, isJump }, index) => {
    if (isJump || added[index + 1]?.isJump || number >= fence.number) return true;
    const distance = Math.max(0, Math.ceil(Math.log((fence.number - number) / nearest) / Math.log(growth)));
    const isFirst = !distances.has(distance);
    distances.add(distance);
    return isFirst;
  });
}

/** Without those that the log no longer reaches back to, but for the last of them: it has the least number of what is left. */
export function withoutGone(anchors: readonly Anchor[], firstSequence: string): readonly Anchor[] {
  const last = anchors.findLastIndex(({ sequence }) => compareSequences(sequence, firstSequence) <= 0);
  return last <= 0 ? anchors : anchors.slice(last);
}

/**
 * As the lease keeps them: "-7+3:AgTB" or "1125899906842624 from 1800000000000"; "-7+3:AgTB, 9+1!:AgTC", where ! is a jump. Numbers are counted
 * from the first one, to the base 36, and sequence numbers are written to the base 64: an item of more than 1,024 bytes costs two units a write.
 */
export function writePositions({ checkpoint, anchors }: KeptPositions): PositionTexts {
  const text = ({ number, users, sequence }: Place, isJump: boolean) =>
    `${(number - firstNumber).toString(36)}+${users}${isJump ? '!' : ''}:${shortened(sequence)}`;
  return {
    ...(checkpoint && {
      weirCheckpoint: isOrigin(checkpoint) ? `${checkpoint.number} from ${checkpoint.time}` : text(checkpoint, false),
    }),
    ...(anchors.length > 0 && { weirFence: anchors.map((anchor) => text(anchor, anchor.isJump)).join(', ') }),
  };
}

/** @throws WeirError INPUT when they are not what writePositions() gives. */
export function readPositions({ weirCheckpoint, weirFence }: PositionTexts, shard: string): KeptPositions {
  const anchors = (weirFence?.split(', ') ?? []).map((text) => readAnchor(text) ?? damaged(shard, 'weirFence', text));
  if (weirCheckpoint === undefined) return { checkpoint: undefined, anchors };
  const from = /^(\d{1,16}) from (\d{1,16})$/.exec(weirCheckpoint);
  if (from !== null) return { checkpoint: { number: Number(from[1]), time: Number(from[2]) }, anchors };
  const { isJump, ...checkpoint } = readAnchor(weirCheckpoint) ?? damaged(shard, 'weirCheckpoint', weirCheckpoint);
  return { checkpoint, anchors };
}

function readAnchor(text: string): Anchor | undefined {
  const found = /^(-?[0-9a-z]{1,11})\+(\d{1,8})(!?):([\w-]{2,32})$/.exec(text);
  if (found === null) return undefined;
  const [, number, users, jump, sequence] = found;
  return {
    number: firstNumber + Number.parseInt(number, 36),
    users: Number(users),
    sequence: lengthened(sequence),
    isJump: jump === '!',
  };
}

function shortened(sequence: string): string {
  const digits = BigInt(sequence).toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex').toString('base64url');
}

function lengthened(text: string): string {
  return String(BigInt(`0x${Buffer.from(text, 'base64url').toString('hex')}`));
}

function damaged(shard: string, attribute: string, text: string): never {
  throw new WeirError(
    'INPUT',
    `the lease of ${shard} has ${JSON.stringify(text)} in ${attribute}, which weir has not written: put back what was there, or remove the attribute and empty the job's state`,
  );
}
