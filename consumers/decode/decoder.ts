import Papa from 'papaparse';
import type { EventLayout, TransactionBatch } from '../../features/columns.ts';
import type { DeadLetter, RawBatch, RecordFormat } from '../ports.ts';
import type { EventConfig } from './config.ts';
import { type Accessor, jsonAccessor, pathKeys } from './path.ts';
import { largestStored, readFlag, readNumber, readText, readTime, show, type ValueFault } from './values.ts';

export interface Decoder {
  readonly layout: EventLayout;
  /** Every record of the batch ends in exactly one of the two. Pure: the clock is the record's own broker timestamp. */
  decode(raw: RawBatch, at: { readonly stream: string; readonly partition: number }): DecodedBatch;
}

export interface DecodedBatch {
  readonly batch: TransactionBatch;
  readonly deadLetters: readonly DeadLetter[];
}

/** The columns that a mapping gives. */
export function layoutOf(event: EventConfig): EventLayout {
  return {
    fields: Object.entries(event.fields).map(([name, { type, scale, optional }]) => ({
      name,
      type,
      scale: type === 'money' || type === 'number' ? scale : 0,
      optional,
    })),
    entities: Object.keys(event.entities).map((name) => ({ name })),
  };
}

/** Reads one value of a parsed record and writes it into its column at the row; a fault leaves the row to be reused. */
type Column = (record: unknown, row: number) => (ValueFault & { readonly where: string }) | undefined;

export function createDecoder(event: EventConfig, format: RecordFormat): Decoder {
  const layout = layoutOf(event);
  const parse = createParser(format);
  const access = (path: string) => (format.type === 'csv' ? csvAccessor(path, format.columns) : jsonAccessor(path));
  return {
    layout,
    decode(raw, at) {
      const target = allocate(layout, raw.values.length);
      const columns = bindColumns(event, layout, target, access);
      const deadLetters: DeadLetter[] = [];
      let row = 0;
      for (let index = 0; index < raw.values.length; index++) {
        const fault = decodeRecord(raw, index, row, parse, columns, target, event);
        if (fault === undefined) {
          target.offsets[row] = raw.offsets[index];
          target.rawIndexes[row++] = index;
        } else {
          const { reason, message } = fault;
          deadLetters.push({
            key: raw.keys[index],
            value: raw.values[index],
            reason,
            message,
            stream: at.stream,
            partition: at.partition,
            offset: raw.offsets[index],
          });
        }
      }
      return { batch: finish(target, row), deadLetters };
    },
  };
}

type Writable = { -readonly [K in keyof TransactionBatch]: TransactionBatch[K] };

function allocate(layout: EventLayout, size: number): Writable {
  const isText = (field: { type: string }) => field.type === 'text';
  return {
    count: 0,
    ids: new Array(size),
    times: new Float64Array(size),
    kinds: new Array(size),
    offsets: new Float64Array(size),
    rawIndexes: new Int32Array(size),
    numbers: layout.fields.map((field) => new Float64Array(isText(field) ? 0 : size)),
    texts: layout.fields.map((field) => (isText(field) ? new Array<string>(size) : [])),
    entityIds: layout.entities.map(() => new Array<string>(size)),
  };
}

/** Cuts the columns to the rows that were filled. */
function finish(target: Writable, count: number): TransactionBatch {
  target.count = count;
  for (const list of [target.ids, target.kinds, ...target.entityIds]) list.length = count;
  return target;
}

function decodeRecord(
  raw: RawBatch,
  index: number,
  row: number,
  parse: (value: Buffer) => unknown,
  columns: readonly Column[],
  target: Writable,
  event: EventConfig,
): ValueFault | undefined {
  const value = raw.values[index];
  if (value === null) return { reason: 'no-value', message: 'the record has no value (a tombstone)' };
  if (value.length > event.max_bytes) {
    return {
      reason: 'oversized',
      message: `the record has ${value.length} bytes; event.max_bytes is ${event.max_bytes}`,
    };
  }
  const record = parse(value);
  if (record instanceof Unparsable) return record;
  for (let k = 0; k < columns.length; k++) {
    const fault = columns[k](record, row);
    if (fault) return { reason: fault.reason, message: `${fault.where}: ${fault.message}` };
  }
  const ahead = target.times[row] - raw.timestamps[index];
  if (ahead > event.time.max_ahead_ms) {
    return {
      reason: 'future-time',
      message: `time at ${event.time.path}: ${ahead} ms ahead of the broker's timestamp; event.time.max_ahead_ms is ${event.time.max_ahead_ms}`,
    };
  }
  return undefined;
}

/** JSON objects as they are, CSV rows as arrays. */
function createParser(format: RecordFormat): (value: Buffer) => unknown {
  if (format.type === 'json') return parseJson;
  return (value) => parseCsv(value, format.columns.length, format.delimiter);
}

function parseJson(value: Buffer): unknown {
  let record: unknown;
  try {
    record = JSON.parse(value.toString('utf8'));
  } catch (error) {
    return new Unparsable(`not JSON: ${(error as Error).message.slice(0, 120)}`);
  }
  const isObject = typeof record === 'object' && record !== null && !Array.isArray(record);
  return isObject ? record : new Unparsable(`expected a JSON object, got ${show(record)}`);
}

function parseCsv(value: Buffer, width: number, delimiter: string): unknown {
  const line = value.toString('utf8');
  const row = line.includes('"') ? Papa.parse<string[]>(line, { delimiter }).data[0] : line.split(delimiter);
  if (row.length !== width) return new Unparsable(`expected ${width} columns as in the header, got ${row.length}`);
  return row;
}

class Unparsable implements ValueFault {
  readonly reason = 'not-json';
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/** Index of a column; an empty cell is no value. */
function csvAccessor(path: string, columns: readonly string[]): Accessor {
  const name = pathKeys(path).join('.');
  const at = columns.indexOf(name);
  return (row) => {
    const cell = (row as string[])[at];
    return cell === '' ? undefined : cell;
  };
}

function bindColumns(
  event: EventConfig,
  layout: EventLayout,
  target: Writable,
  access: (path: string) => Accessor,
): Column[] {
  const columns = [
    idColumn('id', event.id, access, false, target.ids),
    timeColumn(event.time, access, target.times),
    kindColumn(event.kind, access, target.kinds),
  ];
  for (const [index, { name, optional }] of layout.fields.entries()) {
    columns.push(fieldColumn(name, event.fields[name], optional, access, target.numbers[index], target.texts[index]));
  }
  for (const [index, { name }] of layout.entities.entries()) {
    const { key, optional } = event.entities[name];
    columns.push(idColumn(name, key, access, optional, target.entityIds[index]));
  }
  return columns;
}

const missing: ValueFault = { reason: 'missing-field', message: 'the field is missing' };

function at(name: string, path: string, { reason, message }: ValueFault): ReturnType<Column> {
  return { reason, message, where: `${name} at ${path}` };
}

function idColumn(
  name: string,
  path: string,
  access: (path: string) => Accessor,
  optional: boolean,
  out: string[],
): Column {
  const read = access(path);
  return (record, row) => {
    const value = read(record);
    if (value === undefined || value === null || value === '') {
      out[row] = '';
      if (optional) return undefined;
      return at(name, path, value === '' ? { reason: 'empty-id', message: 'the id is empty' } : missing);
    }
    const text = readText(value);
    if (typeof text !== 'string') return at(name, path, text);
    out[row] = text;
    return undefined;
  };
}

function timeColumn(
  { path, unit }: EventConfig['time'],
  access: (path: string) => Accessor,
  out: Float64Array,
): Column {
  const read = access(path);
  return (record, row) => {
    const value = read(record);
    if (value === undefined || value === null) return at('time', path, missing);
    const time = readTime(value, unit);
    if (typeof time !== 'number') return at('time', path, time);
    out[row] = time;
    return undefined;
  };
}

function kindColumn(kind: EventConfig['kind'], access: (path: string) => Accessor, out: string[]): Column {
  if ('const' in kind) {
    return (_record, row) => {
      out[row] = kind.const;
      return undefined;
    };
  }
  const read = access(kind.path);
  const kinds = new Map(Object.entries(kind.map));
  return (record, row) => {
    const value = read(record);
    if (value === undefined || value === null) return at('kind', kind.path, missing);
    const known = kinds.get(String(value));
    if (known === undefined)
      return at('kind', kind.path, { reason: 'unknown-kind', message: `${show(value)} is not in event.kind.map` });
    out[row] = known;
    return undefined;
  };
}

function fieldColumn(
  name: string,
  config: EventConfig['fields'][string],
  optional: boolean,
  access: (path: string) => Accessor,
  numbers: Float64Array,
  texts: string[],
): Column {
  const read = access(config.path);
  const parse = valueReader(config);
  const isText = config.type === 'text';
  return (record, row) => {
    const value = read(record);
    if (value === undefined || value === null) {
      if (!optional) return at(name, config.path, missing);
      if (isText) texts[row] = '';
      else numbers[row] = Number.NaN;
      return undefined;
    }
    const parsed = parse(value);
    if (typeof parsed === 'object') return at(name, config.path, parsed);
    if (isText) texts[row] = parsed as string;
    else numbers[row] = parsed as number;
    return undefined;
  };
}

function valueReader({
  type,
  scale,
  unit,
  min,
  max,
}: EventConfig['fields'][string]): (value: unknown) => number | string | ValueFault {
  if (type === 'flag') return readFlag;
  if (type === 'text') return readText;
  const factor = 10 ** scale;
  const rule = {
    scale,
    isMinor: unit === 'minor',
    min: Math.max(-largestStored, Math.round((min ?? (type === 'money' ? 0 : -defaultMax)) * factor)),
    max: Math.min(largestStored, Math.round((max ?? defaultMax) * factor)),
  };
  return (value) => readNumber(value, rule);
}

/** Ten billion major units: what a field may hold unless the config says otherwise. */
const defaultMax = 10_000_000_000;
