import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import type { EventConfig } from './config.ts';
import { entityFunction, joinIds } from './entity-function.ts';
import type { Accessor } from './path.ts';
import type { RecordReader } from './record.ts';
import {
  largestStored,
  readConfigTime,
  readFlag,
  readId,
  readNumber,
  readText,
  readTime,
  show,
  type ValueFault,
} from './values.ts';

/** Reads one value of a parsed record into its column at the row; a fault leaves the row to be used again. */
export type ColumnReader = (record: object, row: number, batch: TransactionBatch) => ValueFault | undefined;

/**
 * A reader per column of the layout, in the order that decides which fault of a record is told.
 * @throws WeirError CONFIG when no record of the format can have one of the paths.
 */
export function columnReaders(event: EventConfig, layout: EventLayout, records: RecordReader): ColumnReader[] {
  return [
    idReader(event, records),
    timeReader(event.time, records),
    kindReader(event, records),
    ...(event.refers_to === undefined ? [] : [refersToReader(event.refers_to, records)]),
    ...layout.fields.map(({ name }, index) => fieldReader(name, event.fields[name], index, records)),
    ...layout.entities.map(({ name }, index) => entityReader(name, event.entities[name], index, records)),
  ];
}

/** No value: absent, null, or an empty text, which is all that a CSV row can say. */
function isMissing(value: unknown): value is undefined | null | '' {
  return value === undefined || value === null || value === '';
}

const missing: ValueFault = { reason: 'missing-field', message: 'the value is missing' };
const emptyId: ValueFault = { reason: 'empty-id', message: 'the id is empty' };

function at(name: string, path: string, { reason, message }: ValueFault): ValueFault {
  return { reason, message: `${name} at ${path}: ${message}` };
}

function idReader({ id: path }: EventConfig, records: RecordReader): ColumnReader {
  const read = records.access(path, 'event.id');
  return (record, row, { ids }) => {
    const value = read(record);
    if (isMissing(value)) return at('id', path, value === '' ? emptyId : missing);
    const id = readId(value);
    if (typeof id !== 'string') return at('id', path, id);
    ids[row] = id;
    return undefined;
  };
}

function timeReader({ path, unit, max }: EventConfig['time'], records: RecordReader): ColumnReader {
  const latest = max === undefined ? Number.POSITIVE_INFINITY : (readConfigTime(max) as number);
  const read = records.access(path, 'event.time.path');
  return (record, row, { times }) => {
    const value = read(record);
    if (isMissing(value)) return at('time', path, missing);
    const time = readTime(value, unit);
    if (typeof time !== 'number') return at('time', path, time);
    if (time > latest) {
      return at('time', path, {
        reason: 'future-time',
        message: `${show(value)} is later than event.time.max, ${max}`,
      });
    }
    times[row] = time;
    return undefined;
  };
}

/** The id of another transaction, by the rules of ids; most events have none. */
function refersToReader(path: string, records: RecordReader): ColumnReader {
  const read = records.access(path, 'event.refers_to');
  return (record, row, { refersTo }) => {
    const value = read(record);
    const id = isMissing(value) ? '' : readId(value);
    if (typeof id !== 'string') return at('refers_to', path, id);
    refersTo[row] = id;
    return undefined;
  };
}

function kindReader({ kind, unscored: unscoredKinds = [] }: EventConfig, records: RecordReader): ColumnReader {
  if ('const' in kind) {
    const isUnscored = unscoredKinds.includes(kind.const) ? 1 : 0;
    return (_record, row, { kinds, unscored }) => {
      kinds[row] = kind.const;
      unscored[row] = isUnscored;
      return undefined;
    };
  }
  const read = records.access(kind.path, 'event.kind.path');
  const known = new Map(
    Object.entries(kind.map).map(([input, name]) => [
      input,
      { name, isUnscored: unscoredKinds.includes(name) ? 1 : 0 },
    ]),
  );
  return (record, row, { kinds, unscored }) => {
    const value = read(record);
    if (isMissing(value)) return at('kind', kind.path, missing);
    const text = readText(value);
    if (typeof text !== 'string') return at('kind', kind.path, text);
    const found = known.get(text);
    if (found === undefined) {
      return at('kind', kind.path, { reason: 'unknown-kind', message: `${show(value)} is not in event.kind.map` });
    }
    kinds[row] = found.name;
    unscored[row] = found.isUnscored;
    return undefined;
  };
}

function fieldReader(
  name: string,
  config: EventConfig['fields'][string],
  index: number,
  records: RecordReader,
): ColumnReader {
  const { path, optional } = config;
  const read = records.access(path, `event.fields.${name}.path`);
  if (config.type === 'text') {
    const made = config.as === undefined ? undefined : entityFunction(config.as);
    return (record, row, batch) => {
      const value = read(record);
      if (isMissing(value) && !optional) return at(name, path, missing);
      let text = isMissing(value) ? '' : readText(value);
      if (typeof made === 'function' && typeof text === 'string' && text !== '') text = made(text);
      if (text === '' && !optional) text = missing;
      if (typeof text !== 'string') return at(name, path, text);
      batch.texts[index][row] = text;
      return undefined;
    };
  }
  const parse = numberParser(config);
  return (record, row, batch) => {
    const value = read(record);
    if (isMissing(value) && !optional) return at(name, path, missing);
    const number = isMissing(value) ? Number.NaN : parse(value);
    if (typeof number !== 'number') return at(name, path, number);
    batch.numbers[index][row] = number;
    return undefined;
  };
}

/** Ten billion major units: what a field may hold unless the config says otherwise. */
const defaultMax = 10_000_000_000;

function numberParser(config: EventConfig['fields'][string]): (value: unknown) => number | ValueFault {
  const { type, scale, unit, min, max } = config;
  if (type === 'flag') return readFlag;
  const factor = 10 ** scale;
  const rule = {
    decimals: unit === 'minor' ? 0 : scale,
    min: Math.max(-largestStored, Math.round((min ?? (type === 'money' ? 0 : -defaultMax)) * factor)),
    max: Math.min(largestStored, Math.round((max ?? defaultMax) * factor)),
  };
  return (value) => readNumber(value, rule);
}

function entityReader(
  name: string,
  { key, as, optional }: EventConfig['entities'][string],
  index: number,
  records: RecordReader,
): ColumnReader {
  const what = `event.entities.${name}.key`;
  if (Array.isArray(key)) {
    const parts = key.map((part, k) => partReader(name, part, `${what}[${k}]`, optional, records));
    return (record, row, { entityIds }) => {
      let id = '';
      let isAbsent = false;
      for (let k = 0; k < parts.length; k++) {
        const part = parts[k](record);
        if (typeof part !== 'string') return part;
        if (part === '') isAbsent = true;
        else id = joinIds(id, part);
      }
      entityIds[index][row] = isAbsent ? '' : id;
      return undefined;
    };
  }
  if (as === undefined) return plainEntityReader(name, key, optional, index, records.access(key, what));
  const read = partReader(name, { path: key, as }, what, optional, records);
  return (record, row, { entityIds }) => {
    const id = read(record);
    if (typeof id !== 'string') return id;
    entityIds[index][row] = id;
    return undefined;
  };
}

/** Most entities: an id as it stands in the record. */
function plainEntityReader(name: string, path: string, optional: boolean, index: number, read: Accessor): ColumnReader {
  return (record, row, { entityIds }) => {
    const value = read(record);
    if (isMissing(value) && !optional) return at(name, path, value === '' ? emptyId : missing);
    const id = isMissing(value) ? '' : readId(value);
    if (typeof id !== 'string') return at(name, path, id);
    entityIds[index][row] = id;
    return undefined;
  };
}

type KeyPart = string | { readonly path: string; readonly as: string };

/** Reads an id, or a part of one; '' where it may be absent and is. */
function partReader(
  name: string,
  part: KeyPart,
  what: string,
  optional: boolean,
  records: RecordReader,
): (record: object) => string | ValueFault {
  const path = typeof part === 'string' ? part : part.path;
  const made = typeof part === 'string' ? undefined : entityFunction(part.as);
  const read = records.access(path, what);
  const readPlain = (record: object) => {
    const value = read(record);
    if (isMissing(value)) return optional ? '' : at(name, path, value === '' ? emptyId : missing);
    const id = readId(value);
    return typeof id === 'string' ? id : at(name, path, id);
  };
  if (typeof made !== 'function') return readPlain;
  return (record) => {
    const plain = readPlain(record);
    if (typeof plain !== 'string' || plain === '') return plain;
    const id = made(plain);
    return typeof id === 'string' ? id : at(name, path, id);
  };
}
