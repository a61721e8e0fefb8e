import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder } from '../../consumers/decode/decoder.ts';
import type { RawBatch, RecordFormat } from '../../consumers/ports.ts';

const json: RecordFormat = { type: 'json' };
const at = { stream: 'transactions', partition: 3 };

const config = {
  id: '$.id',
  time: { path: '$.ts', unit: 'ms' },
  kind: { path: '$.kind', map: { auth: 'authorization', refund: 'refund', '7': 'reversal', true: 'confirmed' } },
  fields: {
    amount: { path: '$.amount', type: 'money', scale: 2 },
    fraud: { path: '$.fraud', type: 'flag', optional: true },
    device: { path: '$.device.id', type: 'text', optional: true },
    score: { path: '$.scores[1]', type: 'number', scale: 3, optional: true },
    ip: { path: "$['client.ip']", type: 'text', optional: true },
  },
  entities: { card: { key: '$.card' }, account: { key: '$.account', optional: true } },
};

const good = { id: 't-1', ts: 1_700_000_000_000, kind: 'auth', amount: '57.16', card: 'c-9' };

function rawBatch(values: readonly (Buffer | null)[], timestamp = Number.NaN): RawBatch {
  return {
    values,
    keys: values.map((_, index) => Buffer.from(`key-${index}`)),
    offsets: values.map((_, index) => 100 + 2 * index),
    timestamps: values.map(() => timestamp),
    next: 100 + 2 * values.length,
    end: 1000,
  };
}

/** Decodes the records by the config, sections of which may be replaced. */
function decode(records: readonly unknown[], { format = json, timestamp = Number.NaN, ...sections }: Settings = {}) {
  const decoder = createDecoder(eventConfig.parse({ ...config, ...sections }), format);
  const bytes = records.map((record) => (record === null ? null : asBytes(record)));
  const { batch, deadLetters } = decoder.decode(rawBatch(bytes, timestamp), at);
  const field = (name: string) => decoder.layout.fields.findIndex((candidate) => candidate.name === name);
  return {
    batch,
    deadLetters,
    numbers: (name: string) => [...batch.numbers[field(name)].subarray(0, batch.count)],
    texts: (name: string) => batch.texts[field(name)],
  };
}

interface Settings {
  readonly format?: RecordFormat;
  readonly timestamp?: number;
  readonly [section: string]: unknown;
}

function asBytes(record: unknown): Buffer {
  if (Buffer.isBuffer(record)) return record;
  return Buffer.from(typeof record === 'string' ? record : JSON.stringify(record));
}

const withAmount = (rule: object) => ({ fields: { amount: { path: '$.amount', type: 'number', ...rule } } });

/** What becomes of one amount: its stored integer, or why it is a dead letter. */
function amountOf(amount: unknown, rule: object): number | string {
  const record =
    typeof amount === 'string' ? { ...good, amount } : `{"amount":${amount},${JSON.stringify(good).slice(1)}`;
  const text = typeof amount === 'string' ? record : (record as string).replace(',"amount":"57.16"', '');
  const { numbers, deadLetters } = decode([text], withAmount(rule));
  return deadLetters.length === 0 ? numbers('amount')[0] : deadLetters[0].reason;
}

describe('decoding a good record', () => {
  it('fills the columns, row by row', () => {
    const full = {
      ...good,
      id: 17,
      kind: 7,
      fraud: true,
      device: { id: 'd-1' },
      scores: [0, -1.5],
      'client.ip': '10.0.0.1',
      account: 'a',
    };
    const { batch, numbers, texts, deadLetters } = decode([good, full]);
    expect(deadLetters).toEqual([]);
    expect(batch.count).toBe(2);
    expect(batch.ids).toEqual(['t-1', '17']);
    expect([...batch.times]).toEqual([good.ts, good.ts]);
    expect(batch.kinds).toEqual(['authorization', 'reversal']);
    expect([...batch.offsets]).toEqual([100, 102]);
    expect([...batch.rawIndexes]).toEqual([0, 1]);
    expect(numbers('amount')).toEqual([5716, 5716]);
    expect(numbers('fraud')).toEqual([Number.NaN, 1]);
    expect(numbers('score')).toEqual([Number.NaN, -1500]);
    expect(texts('device')).toEqual(['', 'd-1']);
    expect(texts('ip')).toEqual(['', '10.0.0.1']);
    expect(batch.entityIds).toEqual([
      ['c-9', 'c-9'],
      ['', 'a'],
    ]);
  });

  it('takes null and empty text for no value where the value is optional', () => {
    const { numbers, texts, batch, deadLetters } = decode([
      { ...good, fraud: null, device: null, scores: null, account: null },
      { ...good, fraud: '', device: { id: '' }, scores: [1, ''], account: '' },
    ]);
    expect(deadLetters).toEqual([]);
    expect(numbers('fraud')).toEqual([Number.NaN, Number.NaN]);
    expect(numbers('score')).toEqual([Number.NaN, Number.NaN]);
    expect(texts('device')).toEqual(['', '']);
    expect(batch.entityIds[1]).toEqual(['', '']);
  });

  it('leaves no gap where records are rejected', () => {
    const { batch, numbers, deadLetters } = decode([
      { ...good, id: 'a', amount: 1 },
      'x',
      { ...good, id: 'b', amount: 2 },
      { ...good, id: 'c', amount: 'x' },
      { ...good, id: 'd', amount: 3 },
    ]);
    expect(batch.ids).toEqual(['a', 'b', 'd']);
    expect(numbers('amount')).toEqual([100, 200, 300]);
    expect([...batch.rawIndexes.subarray(0, 3)]).toEqual([0, 2, 4]);
    expect([...batch.offsets.subarray(0, 3)]).toEqual([100, 104, 108]);
    expect(batch.entityIds[0]).toEqual(['c-9', 'c-9', 'c-9']);
    expect(deadLetters.map(({ offset }) => offset)).toEqual([102, 106]);
  });

  it('reads own properties only, whatever their names', () => {
    const tricky = {
      fields: { proto: { path: '$.__proto__', type: 'text', optional: true } },
      entities: { card: { key: '$.constructor' } },
    };
    const text = '{"id":"1","ts":1,"kind":"auth","__proto__":"own","constructor":"c"}';
    const { texts, batch } = decode([text], tricky);
    expect(texts('proto')).toEqual(['own']);
    expect(batch.entityIds[0]).toEqual(['c']);
    const { deadLetters } = decode(['{"id":"1","ts":1,"kind":"auth"}'], tricky);
    expect(deadLetters[0]).toMatchObject({
      reason: 'missing-field',
      message: 'card at $.constructor: the value is missing',
    });
    expect(
      decode(['{"id":"1","ts":1,"kind":"auth","__proto__":{"card":"c"}}'], { entities: config.entities, fields: {} })
        .deadLetters[0].reason,
    ).toBe('missing-field');
  });
});

describe('a bad record', () => {
  const cases: [string, unknown, string, RegExp, Settings?][] = [
    ['is no JSON', '{"id":', 'not-json', /^not JSON: /],
    ['is empty', '', 'not-json', /^not JSON: /],
    ['has NaN in it', JSON.stringify(good).replace('"57.16"', 'NaN'), 'not-json', /^not JSON: /],
    ['is a number', '12', 'not-json', /^expected a JSON object, got 12$/],
    ['is null', 'null', 'not-json', /^expected a JSON object, got null$/],
    ['is a list', '[{}]', 'not-json', /^expected a JSON object, got a list$/],
    [
      'is not UTF-8',
      Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff]), Buffer.from('"}')]),
      'not-json',
      /^the bytes are not UTF-8$/,
    ],
    ['has no value', null, 'no-value', /tombstone/],
    [
      'is oversized',
      { ...good, more: 'x'.repeat(200) },
      'oversized',
      /longer than event.max_bytes, 200$/,
      { max_bytes: 200 },
    ],
    ['lacks the id', { ...good, id: undefined }, 'missing-field', /^id at \$\.id: the value is missing$/],
    ['has null for an id', { ...good, id: null }, 'missing-field', /^id at /],
    ['has an empty id', { ...good, id: '' }, 'empty-id', /^id at \$\.id: the id is empty$/],
    ['has a blank entity id', { ...good, card: ' \t' }, 'empty-id', /^card at \$\.card: the id is blank$/],
    ['has an empty entity id', { ...good, card: '' }, 'empty-id', /^card at /],
    ['has an object for an id', { ...good, id: {} }, 'wrong-type', /^id at \$\.id: expected text, got an object$/],
    [
      'has an id that lost digits',
      JSON.stringify(good).replace('"t-1"', '12345678901234567890'),
      'wrong-type',
      /has lost digits in JSON/,
    ],
    ['has half a surrogate pair in an id', { ...good, card: 'a\ud800' }, 'wrong-type', /no valid Unicode/],
    ['has an endless id', { ...good, card: 'x'.repeat(257) }, 'out-of-range', /has 257 characters; at most 256$/],
    ['lacks the time', { ...good, ts: undefined }, 'missing-field', /^time at \$\.ts: /],
    [
      'has text for a time',
      { ...good, ts: 'yesterday' },
      'wrong-type',
      /^time at \$\.ts: expected a time in ms since 1970, got "yesterday"$/,
    ],
    ['has a time before 1970', { ...good, ts: -1 }, 'out-of-range', /not between 1970 and 2200$/],
    [
      'has a time in microseconds for milliseconds',
      { ...good, ts: good.ts * 1000 },
      'out-of-range',
      /not between 1970 and 2200$/,
    ],
    [
      'has a future time',
      good,
      'future-time',
      /^time at \$\.ts: 300001 ms ahead of the broker's timestamp; event.time.max_ahead_ms is 300000$/,
      { timestamp: good.ts - 300_001 },
    ],
    [
      'has an unknown kind',
      { ...good, kind: 'chargeback' },
      'unknown-kind',
      /^kind at \$\.kind: "chargeback" is not in event.kind.map$/,
    ],
    ['has a kind with a trap in it', { ...good, kind: { toString: 1 } }, 'wrong-type', /^kind at /],
    ['lacks the kind', { ...good, kind: undefined }, 'missing-field', /^kind at /],
    [
      'lacks the amount',
      { ...good, amount: undefined },
      'missing-field',
      /^amount at \$\.amount: the value is missing$/,
    ],
    [
      'has text for an amount',
      { ...good, amount: 'much' },
      'wrong-type',
      /^amount at \$\.amount: expected a number, got "much"$/,
    ],
    ['has a flag for an amount', { ...good, amount: true }, 'wrong-type', /expected a number, got true$/],
    ['has NaN for an amount', { ...good, amount: 'NaN' }, 'out-of-range', /"NaN" is no amount$/],
    [
      'has a number beyond doubles',
      JSON.stringify(good).replace('"57.16"', '1e999'),
      'out-of-range',
      /Infinity is no amount$/,
    ],
    ['has a negative amount', { ...good, amount: -0.01 }, 'out-of-range', /-0.01 is not between 0 and 10000000000$/],
    ['has a huge amount', { ...good, amount: 1e10 + 0.01 }, 'out-of-range', /not between 0 and 10000000000$/],
    ['has too many decimals', { ...good, amount: 1.005 }, 'out-of-range', /1.005 has more than 2 decimals$/],
    [
      'has a number for a flag',
      { ...good, fraud: 2 },
      'wrong-type',
      /^fraud at \$\.fraud: expected true, false, 1 or 0, got 2$/,
    ],
    [
      'has an object for a text',
      { ...good, device: { id: {} } },
      'wrong-type',
      /^device at \$\.device\.id: expected text, got an object$/,
    ],
    ['has a text that is no Unicode', { ...good, device: { id: '\udc00' } }, 'wrong-type', /^device at /],
  ];

  // A rest parameter: the last argument of a row that lacks it would be a callback to wait for.
  it.each(cases)('%s', (_name, record, reason, message, ...[settings]) => {
    const { batch, deadLetters } = decode([good, record, good], { timestamp: good.ts - 300_000, ...settings });
    const letters = settings?.timestamp === undefined ? deadLetters : deadLetters.slice(1, 2);
    expect(letters).toHaveLength(1);
    expect(letters[0]).toEqual({
      reason,
      message: expect.stringMatching(message),
      ...at,
      offset: 102,
      key: Buffer.from('key-1'),
      value: record === null ? null : asBytes(record),
    });
    expect(batch.count).toBe(settings?.timestamp === undefined ? 2 : 0);
  });

  it('names the first of several faults', () => {
    const { deadLetters } = decode([{ ...good, id: '', amount: 'x', card: '' }]);
    expect(deadLetters.map(({ reason, message }) => [reason, message])).toEqual([
      ['empty-id', 'id at $.id: the id is empty'],
    ]);
  });

  it('does not fail for depth, in JSON or in a message', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const text = JSON.stringify(good).replace('"57.16"', deep);
    expect(decode([deep, text]).deadLetters.map(({ reason }) => reason)).toEqual(['not-json', 'wrong-type']);
  });

  it('costs time in proportion to its length', () => {
    const digits = '9'.repeat(500_000);
    const amounts = [`${digits}x`, `${digits}.${digits}x`, `${digits}e${digits}`, ' '.repeat(500_000), `-${digits}`];
    const reasons = decode(amounts.map((amount) => ({ ...good, amount }))).deadLetters.map(({ reason }) => reason);
    expect(reasons).toEqual(['wrong-type', 'wrong-type', 'out-of-range', 'wrong-type', 'out-of-range']);
  });

  it('keeps messages short', () => {
    const { deadLetters } = decode([
      `"${'x'.repeat(5000)}`,
      { ...good, amount: 'y'.repeat(5000) },
      { ...good, kind: 'z'.repeat(5000) },
    ]);
    for (const { message } of deadLetters) expect(message.length).toBeLessThan(200);
  });
});

describe('numbers', () => {
  it('are kept exactly, from text and from numbers, at every scale', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 }), fc.integer({ min: -(2 ** 49), max: 2 ** 49 }), (scale, minor) => {
        const rule = { scale, min: -(10 ** 17), max: 10 ** 17 };
        const text = decimal(minor, scale);
        expect(amountOf(text, rule)).toBe(minor);
        expect(amountOf(`${text}${scale === 0 ? '.' : ''}000`, rule)).toBe(minor);
        expect(amountOf(Number(text), rule)).toBe(minor);
        expect(amountOf(String(minor), { ...rule, unit: 'minor' })).toBe(minor);
        expect(amountOf(minor, { ...rule, unit: 'minor' })).toBe(minor);
      }),
    );
  });

  it.each([
    ['85.64999999999999', 8565],
    ['83.10000000000001', 8310],
    [85.64999999999999, 8565],
    ['52.300000000000004', 5230],
    ['0.30000000000000004', 30],
  ])('drop the noise of binary fractions: %p', (amount, stored) => {
    expect(amountOf(amount, { scale: 2 })).toBe(stored);
  });

  it.each([
    ['5', 500],
    ['+5', 500],
    ['-5', -500],
    ['5.', 500],
    ['.5', 50],
    ['-.5', -50],
    ['05.10', 510],
    ['5.1000000', 510],
    [' 5.10\t', 510],
    ['1e3', 100_000],
    ['1.5E-1', 15],
    ['12345678901.99', 'out-of-range'],
    ['99999999999999999999999999999999', 'out-of-range'],
    ['1e400', 'out-of-range'],
    ['-Infinity', 'out-of-range'],
    ['5.001', 'out-of-range'],
    ['1e-3', 'out-of-range'],
    ['', 'missing-field'],
    [' ', 'wrong-type'],
    ['.', 'wrong-type'],
    ['-', 'wrong-type'],
    ['5,10', 'wrong-type'],
    ['1 000', 'wrong-type'],
    ['0x10', 'wrong-type'],
    ['1.2.3', 'wrong-type'],
    ['--5', 'wrong-type'],
    ['५', 'wrong-type'],
  ])('as text: %p', (amount, wanted) => {
    expect(amountOf(amount, { scale: 2 })).toBe(wanted);
  });

  it('have no negative zero', () => {
    for (const zero of ['-0', '-0.00', '-0e0']) expect(amountOf(zero, { scale: 2 })).toBe(0);
    expect(
      decode([`{"amount":-0,${JSON.stringify({ ...good, amount: undefined }).slice(1)}`]).numbers('amount'),
    ).toEqual([0]);
  });

  it('keep to the bounds of the config, in major units', () => {
    const rule = { scale: 2, min: -1.5, max: 2 };
    expect(['-1.50', '-1.51', '2.00', '2.01'].map((amount) => amountOf(amount, rule))).toEqual([
      -150,
      'out-of-range',
      200,
      'out-of-range',
    ]);
  });
});

describe('times', () => {
  const timeOf = (ts: unknown, unit: string) => {
    const { batch, deadLetters } = decode([{ ...good, ts }], { time: { path: '$.ts', unit } });
    return deadLetters.length === 0 ? batch.times[0] : deadLetters[0].reason;
  };

  it.each([
    ['ms', 1_700_000_000_123, 1_700_000_000_123],
    ['ms', '1700000000123', 1_700_000_000_123],
    ['ms', 1_700_000_000_123.9, 1_700_000_000_123],
    ['ms', 0, 0],
    ['ms', '', 'missing-field'],
    ['ms', '1.7e12', 'wrong-type'],
    ['ms', '-5', 'out-of-range'],
    ['s', 1_522_540_831, 1_522_540_831_000],
    ['s', '1522540831.123', 1_522_540_831_123],
    ['s', 1_522_540_831.123, 1_522_540_831_123],
    ['s', '1522540831.1239', 1_522_540_831_123],
    ['us', 1_700_000_000_123_999, 1_700_000_000_123],
    ['us', '1700000000123456', 1_700_000_000_123],
    ['us', true, 'wrong-type'],
  ])('in %s: %p', (unit, ts, wanted) => {
    expect(timeOf(ts, unit)).toBe(wanted);
  });

  it('of every millisecond are the same in all units', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 7_258_118_400_000 }), (ms) => {
        const iso = new Date(ms).toISOString();
        expect([
          timeOf(ms, 'ms'),
          timeOf(ms / 1000, 's'),
          timeOf(String(ms / 1000), 's'),
          timeOf(ms * 1000, 'us'),
          timeOf(iso, 'iso'),
        ]).toEqual([ms, ms, ms, ms, ms]);
      }),
    );
  });

  it.each([
    ['2018-04-01T00:00:31Z', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01T00:00:31', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01 00:00:31', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01 02:30:31.5+02:30', '2018-04-01T00:00:31.500Z'],
    ['2018-03-31T19:00:31-0500', '2018-04-01T00:00:31.000Z'],
    ['2018-04-01T00:00:31.123456789Z', '2018-04-01T00:00:31.123Z'],
    ['2018-04-01T00:00', '2018-04-01T00:00:00.000Z'],
    ['2018-04-01', '2018-04-01T00:00:00.000Z'],
    ['2020-02-29', '2020-02-29T00:00:00.000Z'],
  ])('by ISO 8601: %s', (text, wanted) => {
    expect(new Date(timeOf(text, 'iso') as number).toISOString()).toBe(wanted);
  });

  it.each([
    '2018-02-29',
    '2018-04-31T00:00:00Z',
    '2018-13-01',
    '2018-00-10',
    '2018-01-00',
    '2018-04-01T24:00:00Z',
    '2018-04-01T10:60:00Z',
    '01.04.2018',
    'now',
    1_700_000_000_000,
  ])('that ISO 8601 does not know: %p', (text) => {
    expect(timeOf(text, 'iso')).toBe('wrong-type');
  });

  it('ahead of the broker by no more than the limit are good, and files have no broker', () => {
    expect(decode([good], { timestamp: good.ts - 300_000 }).deadLetters).toEqual([]);
    expect(decode([{ ...good, ts: 7e12 }]).deadLetters).toEqual([]);
  });
});

describe('flags', () => {
  it('are true, false, 1 and 0 in any spelling of JSON or CSV', () => {
    const spellings = [true, 1, '1', 'true', 'True', 'TRUE', false, 0, '0', 'false', 'False', 'FALSE'];
    const { numbers } = decode(spellings.map((fraud) => ({ ...good, fraud })));
    expect(numbers('fraud')).toEqual(spellings.map((_, index) => (index < 6 ? 1 : 0)));
  });
});

describe('CSV', () => {
  const format: RecordFormat = { type: 'csv', columns: ['id', 'ts', 'amount', 'card', 'name'], delimiter: ',' };
  const mapping = {
    kind: { const: 'authorization' },
    fields: {
      amount: { path: '$.amount', type: 'money', scale: 2 },
      name: { path: '$.name', type: 'text', optional: true },
    },
    entities: { card: { key: '$.card' } },
    format: 'csv',
  };
  const rows = (...lines: (string | Buffer)[]) => decode(lines, { ...mapping, format });

  it('is read by column names', () => {
    const { batch, numbers, texts, deadLetters } = rows(
      '1,1700000000000,5.10,c,Ann',
      '2,1700000000001,,c,',
      '3,1700000000002,6,c,',
    );
    expect(batch.ids).toEqual(['1', '3']);
    expect(numbers('amount')).toEqual([510, 600]);
    expect(texts('name')).toEqual(['Ann', '']);
    expect(deadLetters.map(({ reason, message }) => [reason, message])).toEqual([
      ['missing-field', 'amount at $.amount: the value is missing'],
    ]);
  });

  it('may quote cells', () => {
    const { batch, texts } = rows(
      '"1",1700000000000,"5.10",c,"Ann ""A"", O\nB"',
      '2,1700000000000,1,"c,d",5" pipe',
      '3,1700000000000,1,c,\n',
    );
    expect(batch.ids).toEqual(['1', '2', '3']);
    expect(texts('name')).toEqual(['Ann "A", O\nB', '5" pipe', '']);
    expect(batch.entityIds[0]).toEqual(['c', 'c,d', 'c']);
  });

  it.each([
    ['1,1700000000000,5.10,c', 'not-json', 'expected 5 columns as in the header, got 4'],
    ['1,1700000000000,5.10,c,a,b', 'not-json', 'expected 5 columns as in the header, got 6'],
    ['1,1700000000000,5.10,c,"a', 'not-json', 'not CSV: Quoted field unterminated'],
    ['1,1700000000000,5.10,c,"a"b', 'not-json', /^not CSV: /],
    ['1,1700000000000,5.10,c,a"\n2,1,1,c,', 'not-json', 'expected one CSV row, got 2: a quote is out of place'],
    ['', 'not-json', 'expected 5 columns as in the header, got 1'],
    ['"', 'not-json', /^not CSV: /],
    [',1700000000000,5.10,c,a', 'empty-id', 'id at $.id: the id is empty'],
    ['1,1700000000000,5.10,,a', 'empty-id', 'card at $.card: the id is empty'],
    ['1,,5.10,c,a', 'missing-field', 'time at $.ts: the value is missing'],
  ])('that is bad: %j', (line, reason, message) => {
    const { deadLetters } = rows(line);
    expect(deadLetters).toHaveLength(1);
    expect(deadLetters[0].reason).toBe(reason);
    if (typeof message === 'string') expect(deadLetters[0].message).toBe(message);
    else expect(deadLetters[0].message).toMatch(message);
    expect(deadLetters[0].value).toEqual(Buffer.from(line));
  });

  it('that is not UTF-8 is a dead letter, not another name', () => {
    const { deadLetters } = rows(Buffer.from('1,1700000000000,5.10,c\xe9,a', 'latin1'));
    expect(deadLetters[0]).toMatchObject({ reason: 'not-json', message: 'the bytes are not UTF-8' });
    expect(rows('1,1700000000000,5.10,c\ufffd,a').deadLetters).toEqual([]);
  });

  it('without a mapped column is a fault of the config, found before any record', () => {
    const open = (columns: string[]) => () =>
      createDecoder(eventConfig.parse({ ...config, ...mapping }), { ...format, columns });
    expect(open(['id', 'ts', 'amuont', 'card', 'name'])).toThrow(
      expect.objectContaining({
        code: 'CONFIG',
        message:
          'event.fields.amount.path is $.amount, but the CSV input has no column amount (did you mean amuont?); its columns are id, ts, amuont, card, name',
      }),
    );
    expect(open(['id', 'ts', 'amount', 'name'])).toThrow(/^event\.entities\.card\.key is \$\.card/);
    expect(open(['ts', 'amount', 'card', 'name'])).toThrow(/^event\.id is \$\.id/);
  });
});

describe('whatever comes', () => {
  const names = [
    'id',
    'ts',
    'kind',
    'amount',
    'fraud',
    'device',
    'scores',
    'client.ip',
    'card',
    'account',
    '__proto__',
    'toString',
    'constructor',
    'toJSON',
  ];
  const almostGood = fc
    .tuple(
      fc.constant(good),
      fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 2 })),
      fc.integer({ min: 0, max: 1 }),
    )
    .map(([base, changes, cut]) =>
      Buffer.from(JSON.stringify({ ...base, ...changes }).slice(0, cut === 0 ? undefined : -1)),
    );
  const record = fc.oneof(
    fc.constant(Buffer.from(JSON.stringify(good))),
    almostGood,
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc.constant(null),
  );
  const csvRecord = fc.oneof(
    fc
      .array(
        fc.constantFrom(
          '1',
          '1700000000000',
          '5.1',
          'c',
          '',
          '"',
          '"a"',
          '"a""b"',
          ',',
          '\n',
          '\r',
          'é',
          '\ufffd',
          '"a,b"',
        ),
      )
      .map((cells) => Buffer.from(cells.join(','))),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.constant(null),
  );
  const formats: [string, fc.Arbitrary<Buffer | null>, RecordFormat][] = [
    ['JSON', record, json],
    ['CSV', csvRecord, { type: 'csv', columns: ['id', 'ts', 'amount', 'card'], delimiter: ',' }],
  ];

  it.each(formats)('as %s, each record ends in exactly one place, and in order', (_name, arbitrary, format) => {
    const mapping =
      format.type === 'json'
        ? config
        : {
            id: '$.id',
            time: config.time,
            kind: { const: 'a' },
            fields: { amount: config.fields.amount },
            entities: { card: { key: '$.card' } },
          };
    const decoder = createDecoder(eventConfig.parse(mapping), format);
    fc.assert(
      fc.property(fc.array(arbitrary, { maxLength: 20 }), (values) => {
        const raw = rawBatch(values);
        const { batch, deadLetters } = decoder.decode(raw, at);
        expect(batch.count + deadLetters.length).toBe(values.length);
        const valid = [...batch.rawIndexes.subarray(0, batch.count)];
        const rejected = deadLetters.map(({ offset }) => (offset - 100) / 2);
        expect([...valid, ...rejected].sort((a, b) => a - b)).toEqual(values.map((_, index) => index));
        expect(valid).toEqual([...valid].sort((a, b) => a - b));
        expect(rejected).toEqual([...rejected].sort((a, b) => a - b));
        for (const { value, key, offset } of deadLetters) {
          expect(value).toBe(values[(offset - 100) / 2]);
          expect(key).toBe(raw.keys[(offset - 100) / 2]);
        }
        for (let row = 0; row < batch.count; row++) {
          expect(batch.ids[row]).not.toBe('');
          expect(Number.isSafeInteger(batch.times[row]) && batch.times[row] >= 0).toBe(true);
          expect(batch.entityIds[0][row]).not.toBe('');
          expect(Number.isSafeInteger(batch.numbers[0][row])).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** The decimal text of an integer of 10^-scale. */
function decimal(minor: number, scale: number): string {
  const digits = String(Math.abs(minor)).padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${minor < 0 ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`;
}
