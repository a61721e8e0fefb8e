import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createFramer } from '../../consumers/file/framing.ts';

/** The records of a stream that comes in these chunks. */
function frame(chunks: readonly (string | Buffer)[], limitBytes = 1000, delimiter?: string): string[] {
  const framer = createFramer(limitBytes, delimiter);
  const records = chunks.flatMap((chunk) => framer.push(Buffer.from(chunk)));
  return [...records, ...framer.end()].map((record) => record.toString('latin1'));
}

describe('framing', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['\n', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\nb', ['a', 'b']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['a\r\n\r\n\n\nb\r', ['a', 'b']],
    ['a\rb\n', ['a\rb']],
    ['a\r\r\n', ['a\r']],
    ['"a\nb"\n', ['"a', 'b"']],
    [' \n', [' ']],
  ])('cuts %j at line ends', (text, records) => {
    expect(frame([text])).toEqual(records);
  });

  it.each<[string, string[]]>([
    ['a,b\nc,d\n', ['a,b', 'c,d']],
    ['a,"b\nc",d\ne\n', ['a,"b\nc",d', 'e']],
    ['"a\r\nb"\r\nc\n', ['"a\r\nb"', 'c']],
    ['"a""\n""b"\nc', ['"a""\n""b"', 'c']],
    ['"a"\n"b"\n', ['"a"', '"b"']],
    ['"",""\n""\n', ['"",""', '""']],
    ['a,5" pipe,b\nc\n', ['a,5" pipe,b', 'c']],
    ['a, "b\nc\n', ['a, "b', 'c']],
    ['a;"b;\nc"\n', ['a;"b;', 'c"']],
    ['a,"b"c"\nd\n', ['a,"b"c"', 'd']],
  ])('keeps the quoted cells of %j whole', (text, records) => {
    expect(frame([text], 1000, ',')).toEqual(records);
  });

  it('does not let a quote that is never closed swallow the file', () => {
    const lines = ['1,"a', ...Array.from({ length: 50 }, (_, index) => `${index},b`)];
    expect(frame([lines.join('\n')], 100, ',')).toEqual(lines);
    expect(frame(['1,"a\n2,b'], 100, ',')).toEqual(['1,"a', '2,b']);
    expect(frame(['"'], 100, ',')).toEqual(['"']);
  });

  it('cuts a record that is too long, and goes on behind it', () => {
    expect(frame(['abcdef\nab\nabc\nabcd\r\n'], 3)).toEqual(['abcd', 'ab', 'abc', 'abcd']);
    expect(frame(['abc\r\nabc\r'], 3)).toEqual(['abc', 'abc']);
    expect(frame(['x'.repeat(10_000), 'y'.repeat(10_000), '\nz'], 3)).toEqual(['xxxx', 'z']);
    expect(frame(['"ab\ncd"\nz'], 3, ',')).toEqual(['"ab', 'cd"', 'z']);
    expect(frame(['abcd"\n"\nz'], 3, ',')).toEqual(['abcd', '"', 'z']);
  });

  it('holds on to no more than the limit', () => {
    const framer = createFramer(10);
    const chunk = Buffer.alloc(1 << 20, 'x');
    expect(framer.push(chunk).map(({ length }) => length)).toEqual([11]);
    for (let n = 0; n < 20; n++) expect(framer.push(chunk)).toEqual([]);
    expect(framer.push(Buffer.from('\nab')).concat(framer.end()).map(String)).toEqual(['ab']);
  });

  it('takes a quote that is closed in the middle of something for a slip', () => {
    const rows = Array.from({ length: 50 }, (_, n) => (n === 3 ? '"t3,1,c' : n === 40 ? 't40,1,"c"' : `t${n},1,c`));
    expect(frame([Buffer.from(`${rows.join('\n')}\n`)], 1000, ',')).toEqual(rows);
    // Behind a cell that rightly holds a line end, the record ends with the line of the slip.
    expect(frame([Buffer.from('"a\nb","c,1\nd,"e"\n')], 1000, ',')).toEqual(['"a\nb","c,1', 'd,"e"']);
    expect(frame([Buffer.from('a,"b"\r\n"c"')], 1000, ',')).toEqual(['a,"b"', '"c"']);
  });

  const pieces = fc.constantFrom('a', 'bc', ',', '"', '""', '\n', '\r', '\r\n', 'é', '"x"', ',"y\nz",');
  const text = fc.array(pieces, { maxLength: 60, size: 'max' }).map((parts) => Buffer.from(parts.join('')));
  const cuts = fc.array(fc.nat(150), { maxLength: 12, size: 'max' });

  function chunksOf(bytes: Buffer, at: readonly number[]): Buffer[] {
    const edges = [0, ...at.filter((edge) => edge <= bytes.length).sort((a, b) => a - b), bytes.length];
    return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
  }

  it.each([
    ['lines', undefined],
    ['CSV', ','],
  ])('gives the same %s however the stream is cut', (_name, delimiter) => {
    fc.assert(
      fc.property(text, cuts, fc.integer({ min: 1, max: 150 }), (bytes, at, limit) => {
        const whole = frame([bytes], limit, delimiter);
        expect(frame(chunksOf(bytes, at), limit, delimiter)).toEqual(whole);
        expect(
          frame(
            [...bytes].map((byte) => Buffer.of(byte)),
            limit,
            delimiter,
          ),
        ).toEqual(whole);
      }),
      { numRuns: 1000 },
    );
  });

  it('loses no byte but line ends', () => {
    const withoutEnds = (joined: string) => joined.replaceAll(/[\r\n]/g, '');
    for (const delimiter of [undefined, ',']) {
      fc.assert(
        fc.property(text, (bytes) => {
          const records = frame([bytes], 1000, delimiter);
          expect(withoutEnds(records.join(''))).toBe(withoutEnds(bytes.toString('latin1')));
          expect(records).not.toContain('');
        }),
      );
    }
  });

  it('gives back the rows that a CSV writer quoted', () => {
    const cell = fc
      .array(fc.constantFrom('a', '"', ',', '\n', '\r\n', ' '), { maxLength: 6, size: 'max' })
      .map((parts) => parts.join(''));
    const quoted = (cells: readonly string[]) => cells.map((value) => `"${value.replaceAll('"', '""')}"`).join(',');
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 30, size: 'max' }),
        cuts,
        (rows, at) => {
          const lines = rows.map(quoted);
          expect(frame(chunksOf(Buffer.from(`${lines.join('\r\n')}\r\n`), at), 1000, ',')).toEqual(lines);
        },
      ),
      { numRuns: 500 },
    );
  });
});
