import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import { parseDuration } from '../../features/duration.ts';
import type { DeadLetter, RawBatch, RecordFormat } from '../ports.ts';
import type { EventConfig } from './config.ts';
import { type ColumnReader, columnReaders } from './readers.ts';
import { type RecordReader, recordReader, Unparsable } from './record.ts';
import type { ValueFault } from './values.ts';

export interface Decoder {
  readonly layout: EventLayout;
  /** Every record of the batch ends in exactly one of the two. Pure: the clock is the record's own broker timestamp. */
  decode(raw: RawBatch, at: { readonly stream: string; readonly partition: number }): DecodedBatch;
}

export interface DecodedBatch {
  readonly batch: TransactionBatch;
  /** Each row's record key; where the source has none, the id of the entity that the config names as key. */
  readonly keys: readonly (Buffer | null)[];
  readonly deadLetters: readonly DeadLetter[];
}

/** The columns that a mapping gives. */
export function layoutOf(event: EventConfig): EventLayout {
  return {
    fields: Object.entries(event.fields).map(([name, { type, scale, optional, as }]) => ({
      name,
      type,
      scale: type === 'money' || type === 'number' ? scale : 0,
      optional,
      made: as,
    })),
    entities: Object.entries(event.entities).map(([name, { key, as, exact_events, idle }]) => ({
      name,
      made: Array.isArray(key) ? key.map((part) => (typeof part === 'string' ? 'id' : part.as)).join(', ') : as,
      exactEvents: exact_events,
      idleMs: parseDuration(idle),
    })),
    kinds: 'const' in event.kind ? [event.kind.const] : [...new Set(Object.values(event.kind.map))],
    deduplication:
      event.deduplicate === false
        ? undefined
        : { windowMs: parseDuration(event.deduplicate.window)!, idsPerKey: event.deduplicate.ids_per_key },
  };
}

/**
 * @param longestKey most bytes of a key that the output takes.
 * @throws WeirError CONFIG when the mapping names a CSV column that the input does not have.
 */
export function createDecoder(
  event: EventConfig,
  format: RecordFormat,
  longestKey = Number.POSITIVE_INFINITY,
): Decoder {
  const layout = layoutOf(event);
  const records = recordReader(format);
  const readers = columnReaders(event, layout, records);
  const keyEntity = layout.entities.findIndex(({ name }) => name === event.key);
  return {
    layout,
    decode(raw, at) {
      const batch = allocate(layout, raw.values.length);
      const deadLetters: DeadLetter[] = [];
      let row = 0;
      for (let index = 0; index < raw.values.length; index++) {
        const fault =
          keyFault(raw.keys[index], longestKey) ?? decodeRecord(raw, index, row, records, readers, batch, event);
        if (fault === undefined) {
          batch.offsets[row] = raw.offsets[index];
          batch.rawIndexes[row++] = index;
        } else deadLetters.push(deadLetter(raw, index, fault, at));
      }
      finish(batch, row);
      const keys = keysOf(raw, batch, keyEntity);
      if (layout.deduplication !== undefined) nameSources(batch, keys, keyEntity);
      return { batch, keys, deadLetters };
    },
  };
}

function keysOf(raw: RawBatch, batch: TransactionBatch, keyEntity: number): (Buffer | null)[] {
  const keys: (Buffer | null)[] = new Array(batch.count);
  for (let row = 0; row < batch.count; row++) {
    const id = keyEntity < 0 ? '' : batch.entityIds[keyEntity][row];
    keys[row] = raw.keys[batch.rawIndexes[row]] ?? (id === '' ? null : Buffer.from(id));
  }
  return keys;
}

/** A producer repeats an event with the same key: the entity behind it, else its bytes, else (a file without) each id by itself. */
function nameSources(batch: TransactionBatch, keys: readonly (Buffer | null)[], keyEntity: number): void {
  for (let row = 0; row < batch.count; row++) {
    const id = keyEntity < 0 ? '' : batch.entityIds[keyEntity][row];
    batch.sources[row] = id !== '' ? id : (keys[row]?.toString('latin1') ?? batch.ids[row]);
  }
}

function keyFault(key: Buffer | null, longestKey: number): ValueFault | undefined {
  if (key === null || key.length <= longestKey) return undefined;
  const message = `the key has ${key.length} bytes; more than ${longestKey}, half of sink.kafka.max_message_bytes, may leave no room for the risk event`;
  return { reason: 'oversized', message };
}

function decodeRecord(
  raw: RawBatch,
  index: number,
  row: number,
  records: RecordReader,
  readers: readonly ColumnReader[],
  batch: TransactionBatch,
  event: EventConfig,
): ValueFault | undefined {
  const value = raw.values[index];
  if (value === null) return { reason: 'no-value', message: 'the record has no value (a tombstone)' };
  if (value.length > event.max_bytes) {
    return { reason: 'oversized', message: `the record is longer than event.max_bytes, ${event.max_bytes}` };
  }
  const record = records.parse(value);
  if (record instanceof Unparsable) return record;
  for (let k = 0; k < readers.length; k++) {
    const fault = readers[k](record, row, batch);
    if (fault) return fault;
  }
  // Kafka says -1 for none: messages of the oldest formats.
  const timestamp = raw.timestamps[index];
  const ahead = batch.times[row] - timestamp;
  if (ahead > event.time.max_ahead_ms && timestamp >= 0) {
    return {
      reason: 'future-time',
      message: `time at ${event.time.path}: ${ahead} ms ahead of the broker's timestamp; event.time.max_ahead_ms is ${event.time.max_ahead_ms}`,
    };
  }
  return undefined;
}

export function deadLetter(
  raw: RawBatch,
  index: number,
  { reason, message }: ValueFault,
  { stream, partition }: { readonly stream: string; readonly partition: number },
): DeadLetter {
  const [key, value] = [raw.keys[index], raw.values[index]];
  const [offset, timestamp] = [raw.offsets[index], raw.timestamps[index]];
  return { key, value, reason, message, stream, partition, offset, timestamp };
}

type Writable = { -readonly [K in keyof TransactionBatch]: TransactionBatch[K] };

function allocate(layout: EventLayout, size: number): Writable {
  const isText = (field: { type: string }) => field.type === 'text';
  return {
    count: 0,
    ids: new Array(size),
    times: new Float64Array(size),
    kinds: new Array(size),
    unscored: new Uint8Array(size),
    refersTo: new Array<string>(size).fill(''),
    offsets: new Float64Array(size),
    rawIndexes: new Int32Array(size),
    numbers: layout.fields.map((field) => new Float64Array(isText(field) ? 0 : size)),
    texts: layout.fields.map((field) => (isText(field) ? new Array<string>(size) : [])),
    entityIds: layout.entities.map(() => new Array<string>(size)),
    sources: [],
  };
}

/** Cuts the columns to the rows that were filled. */
function finish(batch: Writable, count: number): void {
  batch.count = count;
  for (const list of [batch.ids, batch.kinds, batch.refersTo, ...batch.entityIds]) list.length = count;
  for (const list of batch.texts) list.length = Math.min(list.length, count);
}
