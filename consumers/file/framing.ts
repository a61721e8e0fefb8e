/** Cuts a byte stream into records. Pure: bytes in, records out. */
export interface Framer {
  /** Complete records of the chunk, and what earlier chunks left open. Views of the input where possible. */
  push(chunk: Buffer): Buffer[];
  /** The last record when it has no line end. */
  end(): Buffer[];
}

const newline = 10;
const carriageReturn = 13;
const quote = 34;

/**
 * Records end with a line feed (a carriage return before it is dropped); blank lines are none. With `quoted`, line ends between
 * double quotes belong to the record, as in CSV.
 * @param limitBytes a longer record is cut to limitBytes + 1 bytes, so that its reader sees it is too long; the rest is skipped.
 */
export function createFramer(quoted: boolean, limitBytes: number): Framer {
  let open: Buffer[] = [];
  let openBytes = 0;
  let inQuotes = false;

  function keep(part: Buffer): void {
    const room = limitBytes + 1 - openBytes;
    if (room <= 0 || part.length === 0) return;
    // A copy: the chunk is not to stay in memory for the sake of its tail.
    const kept = Buffer.from(part.subarray(0, room));
    open.push(kept);
    openBytes += kept.length;
  }

  function take(part: Buffer): Buffer | undefined {
    let record = part;
    if (openBytes > 0) {
      keep(part);
      record = open.length === 1 ? open[0] : Buffer.concat(open);
      open = [];
      openBytes = 0;
    } else if (record.length > limitBytes + 1) record = record.subarray(0, limitBytes + 1);
    if (record.length > 0 && record[record.length - 1] === carriageReturn) record = record.subarray(0, -1);
    return record.length === 0 ? undefined : record;
  }

  /** Whether the quotes of the part leave the record open. */
  function isOpen(part: Buffer): boolean {
    for (let at = part.indexOf(quote); at >= 0; at = part.indexOf(quote, at + 1)) inQuotes = !inQuotes;
    return inQuotes;
  }

  return {
    push(chunk) {
      const records: Buffer[] = [];
      let start = 0;
      let scanned = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, scanned)) {
        const goesOn = quoted && isOpen(chunk.subarray(scanned, end));
        scanned = end + 1;
        if (goesOn) continue;
        const record = take(chunk.subarray(start, end));
        if (record) records.push(record);
        start = end + 1;
      }
      if (quoted) isOpen(chunk.subarray(scanned));
      keep(chunk.subarray(start));
      return records;
    },
    end() {
      const record = take(Buffer.alloc(0));
      return record ? [record] : [];
    },
  };
}
