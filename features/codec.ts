import { crc32 } from 'node:zlib';
import { WeirError } from '../runtime/errors.ts';
import type { EntityPlan } from './plan.ts';
import { appendRow, emptySubState, type SubState } from './sub-state.ts';

/**
 * A sub-state in bytes. Version 1:
 *   u8 version | u8 flags (1: an event was ever dropped) | [f64 time of the newest dropped event] | varint events |
 *   f64 time of the first event | varint time deltas | per predicate a bit set | per number fact zigzag varints |
 *   per hash fact 6 bytes each | u32 crc32 of all before
 * Numbers are little-endian; cumulative columns are rebuilt when read.
 */
const codecVersion = 1;
const droppedFlag = 1;

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
  const events = state.last - state.head;
  return (
    40 + events * (8 + plan.numbers.length * 8 + plan.hashes.length * 6) + plan.predicates.length * ((events >> 3) + 1)
  );
}

function write(out: Buffer, start: number, state: SubState, plan: EntityPlan): number {
  const { stride } = plan;
  const { rows, head } = state;
  const events = state.last - head;
  const first = (head + 1) * stride;
  const end = (state.last + 1) * stride;
  let at = start;
  const droppedTime = rows[head * stride];
  out[at++] = codecVersion;
  out[at++] = droppedTime === Number.NEGATIVE_INFINITY ? 0 : droppedFlag;
  if (droppedTime !== Number.NEGATIVE_INFINITY) at = out.writeDoubleLE(droppedTime, at);
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
    );
  }
  if (input[0] !== codecVersion) {
    throw new WeirError(
      'STORE',
      `a stored state has the format version ${input[0]}; this program reads version ${codecVersion}`,
    );
  }
  const reader: Reader = { input, at: 2 };
  const state = emptySubState(plan, partition);
  state.offset = offset;
  if ((input[1] & droppedFlag) !== 0) {
    state.rows[0] = input.readDoubleLE(2);
    reader.at = 10;
  }
  const events = readVarint(reader);
  if (events > 0) readEvents(reader, state, plan, events);
  return state;
}

interface Reader {
  readonly input: Buffer;
  at: number;
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
  for (let i = 0; i < events; i++) {
    for (let k = 0; k < width; k++) facts[k] = columns[(1 + k) * events + i];
    appendRow(state, plan, columns[i], facts);
  }
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
