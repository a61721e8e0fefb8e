import { isUtf8 } from 'node:buffer';
import Papa from 'papaparse';
import { closest } from '../../runtime/closest.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { RecordFormat } from '../ports.ts';
import { type Accessor, jsonAccessor, pathKeys } from './path.ts';
import { show, type ValueFault } from './values.ts';

/** How records of a format are taken apart. */
export interface RecordReader {
  /** A record that accessors read from, or why the bytes are none. Never throws. */
  parse(value: Buffer): object | Unparsable;
  /**
   * @param what names the value in errors, e.g. "event.id"
   * @throws WeirError CONFIG when no record can have the path.
   */
  access(path: string, what: string): Accessor;
}

/** Why the bytes are no record of the format. */
export class Unparsable implements ValueFault {
  readonly reason = 'not-json';
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

export function recordReader(format: RecordFormat): RecordReader {
  if (format.type === 'json') return { parse: parseJson, access: jsonAccessor };
  const { columns, delimiter } = format;
  return {
    parse: (value) => parseCsv(value, columns.length, delimiter),
    access: (path, what) => csvAccessor(path, what, columns),
  };
}

/** JSON objects as they are. */
function parseJson(value: Buffer): object | Unparsable {
  const text = decodeText(value);
  if (text === undefined) return notUtf8;
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    return new Unparsable(`not JSON: ${(error as Error).message.slice(0, 120)}`);
  }
  if (typeof record === 'object' && record !== null && !Array.isArray(record)) return record;
  return new Unparsable(`expected a JSON object, got ${show(record)}`);
}

/** CSV rows as lists of cells. */
function parseCsv(value: Buffer, width: number, delimiter: string): object | Unparsable {
  const text = decodeText(value);
  if (text === undefined) return notUtf8;
  let row: string[];
  if (text.includes('"')) {
    const { data, errors } = Papa.parse<string[]>(text, { delimiter, skipEmptyLines: true });
    if (errors.length > 0) return new Unparsable(`not CSV: ${errors[0].message}`);
    if (data.length !== 1) return new Unparsable(`expected one CSV row, got ${data.length}: a quote is out of place`);
    row = data[0];
  } else row = withoutLineEnd(text).split(delimiter);
  if (row.length !== width) return new Unparsable(`expected ${width} columns as in the header, got ${row.length}`);
  return row;
}

/** From Kafka a row may come with its line end. */
function withoutLineEnd(text: string): string {
  const last = text.charCodeAt(text.length - 1);
  return last === 10 || last === 13 ? text.replace(/\r?\n?$/, '') : text;
}

const notUtf8 = new Unparsable('the bytes are not UTF-8');

/** Undefined where bytes would be replaced: ids must not be altered unseen. */
function decodeText(value: Buffer): string | undefined {
  const text = value.toString('utf8');
  return text.includes('\ufffd') && !isUtf8(value) ? undefined : text;
}

function csvAccessor(path: string, what: string, columns: readonly string[]): Accessor {
  const name = pathKeys(path).join('.');
  const at = columns.indexOf(name);
  if (at < 0) {
    throw new WeirError(
      'CONFIG',
      `${what} is ${path}, but the CSV input has no column ${name}${closest(name, columns)}; its columns are ${columns.join(', ')}`,
    );
  }
  return (row) => (row as string[])[at];
}
