/** Cuts a byte stream into records. Pure: bytes in, records out, the same ones however the stream is cut into chunks. */
export interface Framer {
  /** The records that end in the chunk; views of it where possible. */
  push(chunk: Buffer): Buffer[];
  /** What is left when the stream ends: the last record needs no line end. */
  end(): Buffer[];
}

const newline = 10;
const carriageReturn = 13;
const quote = 34;
const nothing = Buffer.alloc(0);

/**
 * Records end with a line feed (a carriage return before it is dropped); blank lines are none.
 * @param limitBytes a longer record is cut to limitBytes + 1 bytes, so that its reader sees it is too long; the rest is skipped.
 * @param delimiter of CSV, one ASCII character: line ends within a quoted cell then belong to the record. A quote begins a cell
 *   only behind a delimiter or at the start, and one that is not closed within limitBytes, or closed in the middle of something, is
 *   taken for a slip: the record ends with its line, so that a stray quote spoils one record and not all that follow.
 */
export function createFramer(limitBytes: number, delimiter?: string): Framer {
  const quotedEnd = delimiter === undefined ? endOfLine : findQuotedEnd(limitBytes, delimiter.charCodeAt(0));
  let open: Buffer = nothing;
  let isSkipping = false;

  function cut(data: Buffer, isLast: boolean): Buffer[] {
    const records: Buffer[] = [];
    let start = isSkipping ? endOfLine(data, 0) + 1 : 0;
    if (isSkipping && start === 0) return records;
    isSkipping = false;
    const endOf = data.includes(quote) ? quotedEnd : endOfLine;
    for (let end = endOf(data, start, isLast); end >= 0; end = endOf(data, start, isLast)) {
      add(records, data, start, end);
      start = end + 1;
    }
    // One byte more than too long may still be a carriage return.
    isSkipping = data.length - start > limitBytes + 1;
    if (isLast || isSkipping) add(records, data, start, data.length);
    // A copy: the chunk is not to stay in memory for the sake of its tail.
    open = isLast || isSkipping ? nothing : Buffer.from(data.subarray(start));
    return records;
  }

  function add(records: Buffer[], data: Buffer, start: number, lineEnd: number): void {
    const end = lineEnd > start && data[lineEnd - 1] === carriageReturn ? lineEnd - 1 : lineEnd;
    if (end > start) records.push(data.subarray(start, Math.min(end, start + limitBytes + 1)));
  }

  return {
    push: (chunk) => cut(open.length === 0 ? chunk : Buffer.concat([open, chunk]), false),
    end: () => cut(open, true),
  };
}

function endOfLine(data: Buffer, start: number): number {
  return data.indexOf(newline, start);
}

/** Finds where the record that begins at `start` ends; -1 while that does not show. */
function findQuotedEnd(limitBytes: number, delimiter: number) {
  return (data: Buffer, start: number, isLast: boolean): number => {
    const limit = start + limitBytes;
    let at = start;
    for (;;) {
      const lineEnd = data.indexOf(newline, at);
      const opening = indexBefore(data, quote, at, lineEnd < 0 ? limit : Math.min(lineEnd, limit));
      if (opening < 0) return lineEnd;
      at = opening + 1;
      if (opening > start && data[opening - 1] !== delimiter) continue;
      const closing = closingQuote(data, at, limit);
      const isShown = isLast || data.length > limit || (closing >= 0 && closing + 1 < data.length);
      if (!isShown) return -1;
      if (closing < 0 || !endsCell(data[closing + 1], delimiter)) return lineEnd;
      at = closing + 1;
    }
  };
}

/** Whether a cell can end before the byte; undefined is the end of the data. */
function endsCell(byte: number | undefined, delimiter: number): boolean {
  return byte === undefined || byte === delimiter || byte === newline || byte === carriageReturn;
}

/** The first quote that is not one of a pair; -1 when there is none before `limit`. */
function closingQuote(data: Buffer, from: number, limit: number): number {
  for (let at = from; ; at += 2) {
    at = indexBefore(data, quote, at, limit);
    if (at < 0 || data[at + 1] !== quote) return at;
  }
}

function indexBefore(data: Buffer, byte: number, from: number, limit: number): number {
  const end = Math.min(limit, data.length);
  for (let at = from; at < end; at++) if (data[at] === byte) return at;
  return -1;
}
