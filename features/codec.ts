import { crc32 } from 'node:zlib';
import { WeirError } from '../runtime/errors.ts';
import { addDeltas, deltas } from './panes.ts';
import type { EntityPlan } from './plan.ts';
import { DamagedStateError } from './store.ts';
import { appendRow, emptySubState, hasTotals, type SubState } from './sub-state.ts';
import { emptySummary, type Summary } from './summary.ts';

/**
 * A sub-state in bytes. Version 2; what is in brackets is there when its flag is:
 *   u8 version | u8 flags | [1: f64 time of the newest dropped event] | [2: f64 magnitude] |
 *   [4: f64 per cumulative column of the base] | [8: summaries of what was dropped] |
 *   [16: u32 layout, u32 bytes of the rest, f64 newest time, varint panes, each: f64 oldest time, f64 newest time, varint events, f64 per cumulative column added, summaries] |
 *   [64: nothing; the totals lack events that came too late] | [32: varint labels, each: 6 bytes transaction, varint bits, f64 time] |
 *   varint events | f64 time of the first event | varint time deltas | per predicate a bit set | per number fact zigzag varints |
 *   per hash fact 6 bytes each | u32 crc32 of all before
 * A summary: u8 (1: saturated) | f64 first time, first value, last time, last value, least, greatest |
 *   where values are kept: varint values, each f64 value, varint times.
 * Numbers are little-endian; the events' cumulative columns are rebuilt when read. Version 1 is the same without the flags from 2 on.
 */
const codecVersion = 2;
const readableVersions: ReadonlySet<number> = new Set([1, codecVersion]);
const flag = {
  dropped: 1,
  magnitude: 2,
  totals: 4,
  droppedSummaries: 8,
  panes: 16,
  pending: 32,
  lacksTotals: 64,
} as const;

/** Writes sub-states into chunks; the views it returns stay valid until the writer is dropped. */
export interface SubStateWriter {
  encode(state: SubState, plan: EntityPlan): Uint8Array;
}

export function createSubStateWriter(chunkBytes = 1 << 18): SubStateWriter {
  let chunk = Buffer.allocUnsafe(chunkBytes);
  let used = 0;
  return {
    encode(state, plan) {
      const bound = sizeBound(state, plan);
      if (chunk.length - used < bound) {
        chunk = Buffer.allocUnsafe(Math.max(chunkBytes, bound));
        used = 0;
      }
      const end = write(chunk, used, state, plan);
      const bytes = chunk.subarray(used, end);
      used = end;
      return bytes;
    },
  };
}

function sizeBound(state: SubState, plan: EntityPlan): number {
  const events = state.last - state.head - state.panes.length;
  const rows =
    events * (8 + plan.numbers.length * 8 + plan.hashes.length * 6) + plan.predicates.length * ((events >> 3) + 1);
  let more = 64 + plan.stride * 8 + state.pending.length * 20 + summariesBound(state.dropped ?? []);
  for (const { summaries } of state.panes) more += 24 + plan.stride * 8 + summariesBound(summaries);
  return rows + more;
}

function summariesBound(summaries: readonly Summary[]): number {
  let bytes = 0;
  for (const { values } of summaries) bytes += 56 + (values?.size ?? 0) * 16;
  return bytes;
}

function write(out: Buffer, start: number, state: SubState, plan: EntityPlan): number {
  const { stride } = plan;
  const { rows, head } = state;
  const firstRow = head + 1 + state.panes.length;
  const events = state.last + 1 - firstRow;
  const first = firstRow * stride;
  const end = (state.last + 1) * stride;
  out[start] = codecVersion;
  let at = writeFolded(out, start + 1, state, plan);
  at = writeVarint(out, at, events);
  if (events > 0) {
    let before = rows[first];
    at = out.writeDoubleLE(before, at);
    for (let row = first + stride; row < end; row += stride) {
      at = writeVarint(out, at, rows[row] - before);
      before = rows[row];
    }
    for (let bit = 0; bit < plan.predicates.length; bit++)
      at = writeBits(out, at, rows, first + 1, end, stride, 1 << bit);
    let column = 2;
    for (let k = 0; k < plan.numbers.length; k++, column++) {
      for (let row = first + column; row < end; row += stride) {
        const value = rows[row];
        at = writeVarint(out, at, value < 0 ? -2 * value - 1 : 2 * value);
      }
    }
    for (let k = 0; k < plan.hashes.length; k++, column++) {
      for (let row = first + column; row < end; row += stride) at = out.writeUIntLE(rows[row], at, 6);
    }
  }
  return out.writeUInt32LE(crc32(out.subarray(start, at)), at);
}

/** Flags, and all that is older than the single events. */
function writeFolded(out: Buffer, start: number, state: SubState, plan: EntityPlan): number {
  const { rows, head, panes, dropped, pending } = state;
  const droppedTime = rows[head * plan.stride];
  const isTotal = hasTotals(plan);
  out[start] =
    (droppedTime === Number.NEGATIVE_INFINITY ? 0 : flag.dropped) |
    (isTotal || panes.length > 0 ? flag.magnitude : 0) |
    (isTotal ? flag.totals : 0) |
    (dropped === undefined ? 0 : flag.droppedSummaries) |
    (panes.length === 0 ? 0 : flag.panes) |
    (pending.length === 0 ? 0 : flag.pending) |
    (state.lacksTotals ? flag.lacksTotals : 0);
  let at = start + 1;
  if (droppedTime !== Number.NEGATIVE_INFINITY) at = out.writeDoubleLE(droppedTime, at);
  if (isTotal || panes.length > 0) at = out.writeDoubleLE(state.magnitude, at);
  if (isTotal) at = writeColumns(out, at, rows, head * plan.stride, plan);
  if (dropped !== undefined) at = writeSummaries(out, at, dropped);
  if (panes.length > 0) at = writePanes(out, at, state, plan);
  if (pending.length > 0) {
    at = writeVarint(out, at, pending.length);
    for (const { id, bits, time } of pending) {
      at = out.writeUIntLE(id, at, 6);
      at = out.writeDoubleLE(time, writeVarint(out, at, bits));
    }
  }
  return at;
}

function writePanes(out: Buffer, start: number, { rows, head, panes }: SubState, plan: EntityPlan): number {
  let at = out.writeDoubleLE(rows[(head + panes.length) * plan.stride], start + 8);
  at = writeVarint(out, at, panes.length);
  let before = 0;
  for (const [index, { first, through, summaries }] of panes.entries()) {
    const row = head + 1 + index;
    at = out.writeDoubleLE(first, at);
    at = out.writeDoubleLE(rows[row * plan.stride], at);
    at = writeVarint(out, at, through - before);
    at = writeColumns(out, at, deltas(rows, plan, row, row - 1), 0, plan);
    at = writeSummaries(out, at, summaries);
    before = through;
  }
  out.writeUInt32LE(plan.foldedLayout, start);
  out.writeUInt32LE(at - start - 8, start + 4);
  return at;
}

/** The cumulative columns of a row that begins at `base`. */
function writeColumns(
  out: Buffer,
  start: number,
  rows: readonly number[],
  base: number,
  { cumulatives }: EntityPlan,
): number {
  let at = start;
  for (const { kind, at: column } of cumulatives) {
    at = out.writeDoubleLE(rows[base + column], at);
    if (kind === 'square') at = out.writeDoubleLE(rows[base + column + 1], at);
  }
  return at;
}

function writeSummaries(out: Buffer, start: number, summaries: readonly Summary[]): number {
  let at = start;
  for (const summary of summaries) {
    out[at++] = summary.isSaturated ? 1 : 0;
    for (const key of summaryNumbers) at = out.writeDoubleLE(summary[key], at);
    if (summary.values === undefined) continue;
    at = writeVarint(out, at, summary.values.size);
    for (const [value, times] of summary.values) at = writeVarint(out, out.writeDoubleLE(value, at), times);
  }
  return at;
}

const summaryNumbers = ['firstTime', 'firstValue', 'lastTime', 'lastValue', 'least', 'greatest'] as const;

/** Base-128, low group first; for integers in [0, 2^53). */
function writeVarint(out: Buffer, at: number, value: number): number {
  while (value >= 0x80000000) {
    const high = Math.floor(value / 128);
    out[at++] = (value - high * 128) | 0x80;
    value = high;
  }
  let rest = value | 0;
  while (rest > 127) {
    out[at++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}

function writeBits(
  out: Buffer,
  at: number,
  rows: number[],
  from: number,
  end: number,
  stride: number,
  bit: number,
): number {
  let byte = 0;
  let filled = 0;
  for (let row = from; row < end; row += stride) {
    if ((rows[row] & bit) !== 0) byte |= 1 << filled;
    if (++filled === 8) {
      out[at++] = byte;
      byte = 0;
      filled = 0;
    }
  }
  if (filled > 0) out[at++] = byte;
  return at;
}

/**
 * Reads a sub-state back.
 * @throws WeirError STORE when the bytes are truncated, altered, or of a version this program does not know.
 */
export function decodeSubState(bytes: Uint8Array, plan: EntityPlan, partition: string, offset: number): SubState {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const body = input.length - 4;
  if (body < 3 || crc32(input.subarray(0, body)) !== input.readUInt32LE(body)) {
    throw new WeirError(
      'STORE',
      `a stored state of the entity type ${plan.type} (partition ${partition}) is damaged: its checksum does not match`,
      { cause: new DamagedStateError('the partition has to re-apply its log') },
    );
  }
  if (!readableVersions.has(input[0])) {
    throw new WeirError(
      'STORE',
      `a stored state has the format version ${input[0]}; this program reads versions 1 to ${codecVersion}`,
    );
  }
  const reader: Reader = { input, at: 2 };
  const state = emptySubState(plan, partition);
  state.offset = offset;
  readFolded(reader, input[1], state, plan);
  const events = readVarint(reader);
  if (events > 0) readEvents(reader, state, plan, events);
  return state;
}

interface Reader {
  readonly input: Buffer;
  at: number;
}

function readFolded(reader: Reader, flags: number, state: SubState, plan: EntityPlan): void {
  state.lacksTotals = (flags & flag.lacksTotals) !== 0;
  if ((flags & flag.dropped) !== 0) state.rows[0] = readDouble(reader);
  if ((flags & flag.magnitude) !== 0) state.magnitude = readDouble(reader);
  if ((flags & flag.totals) !== 0) readColumns(reader, state.rows, plan);
  if ((flags & flag.droppedSummaries) !== 0) state.dropped = readSummaries(reader, plan);
  if ((flags & flag.panes) !== 0) readPanes(reader, state, plan);
  if ((flags & flag.pending) === 0) return;
  state.pending = [];
  for (let count = readVarint(reader); count > 0; count--) {
    const id = reader.input.readUIntLE(reader.at, 6);
    reader.at += 6;
    const bits = readVarint(reader);
    state.pending.push({ id, bits, time: readDouble(reader) });
  }
}

function readPanes(reader: Reader, state: SubState, plan: EntityPlan): void {
  const layout = reader.input.readUInt32LE(reader.at);
  const bytes = reader.input.readUInt32LE(reader.at + 4);
  reader.at += 8;
  if (layout !== plan.foldedLayout) {
    // Folded for other features: windows that reach behind the newest of these events are incomplete until they have filled again.
    state.rows[0] = readDouble(reader);
    reader.at += bytes - 8;
    return;
  }
  reader.at += 8;
  state.panes = [];
  let through = 0;
  for (let count = readVarint(reader); count > 0; count--) {
    const first = readDouble(reader);
    const row: number[] = new Array(plan.stride).fill(0);
    row[0] = readDouble(reader);
    through += readVarint(reader);
    const added: number[] = new Array(plan.stride).fill(0);
    readColumns(reader, added, plan);
    for (const value of row) state.rows.push(value);
    addDeltas(state.rows, plan, ++state.last, added);
    state.panes.push({ first, through, summaries: readSummaries(reader, plan) });
  }
}

function readColumns(reader: Reader, into: number[], { cumulatives }: EntityPlan): void {
  for (const { kind, at } of cumulatives) {
    into[at] = readDouble(reader);
    if (kind === 'square') into[at + 1] = readDouble(reader);
  }
}

function readSummaries(reader: Reader, plan: EntityPlan): Summary[] {
  return plan.summaries.map((spec) => {
    const summary = emptySummary(spec);
    summary.isSaturated = reader.input[reader.at++] === 1;
    for (const key of summaryNumbers) summary[key] = readDouble(reader);
    if (summary.values === undefined) return summary;
    for (let count = readVarint(reader); count > 0; count--) {
      const value = readDouble(reader);
      summary.values.set(value, readVarint(reader));
    }
    return summary;
  });
}

function readDouble(reader: Reader): number {
  const value = reader.input.readDoubleLE(reader.at);
  reader.at += 8;
  return value;
}

function readEvents(reader: Reader, state: SubState, plan: EntityPlan, events: number): void {
  const { input } = reader;
  const width = 1 + plan.numbers.length + plan.hashes.length;
  const columns = new Float64Array(events * (1 + width));
  columns[0] = input.readDoubleLE(reader.at);
  reader.at += 8;
  for (let i = 1; i < events; i++) columns[i] = columns[i - 1] + readVarint(reader);
  for (let bit = 0; bit < plan.predicates.length; bit++) {
    for (let i = 0; i < events; i++) {
      if ((input[reader.at + (i >> 3)] & (1 << (i & 7))) !== 0) columns[events + i] += 2 ** bit;
    }
    reader.at += (events + 7) >> 3;
  }
  for (let k = 0; k < plan.numbers.length; k++) {
    const base = (2 + k) * events;
    for (let i = 0; i < events; i++) {
      const zigzag = readVarint(reader);
      columns[base + i] = zigzag % 2 === 1 ? -(zigzag + 1) / 2 : zigzag / 2;
    }
  }
  for (let k = 0; k < plan.hashes.length; k++) {
    const base = (2 + plan.numbers.length + k) * events;
    for (let i = 0; i < events; i++, reader.at += 6) columns[base + i] = input.readUIntLE(reader.at, 6);
  }
  const facts = new Float64Array(width);
  // A stored magnitude has the events in it already.
  const { magnitude } = state;
  for (let i = 0; i < events; i++) {
    for (let k = 0; k < width; k++) facts[k] = columns[(1 + k) * events + i];
    appendRow(state, plan, columns[i], facts);
  }
  if (state.panes.length > 0 || hasTotals(plan)) state.magnitude = magnitude;
}

function readVarint(reader: Reader): number {
  const { input } = reader;
  let byte = input[reader.at++];
  let value = byte & 127;
  let shift = 7;
  while (byte > 127 && shift < 28) {
    byte = input[reader.at++];
    value |= (byte & 127) << shift;
    shift += 7;
  }
  let factor = 2 ** 28;
  while (byte > 127) {
    byte = input[reader.at++];
    value += (byte & 127) * factor;
    factor *= 128;
  }
  return value;
}
