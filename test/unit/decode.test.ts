import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder } from '../../consumers/decode/decoder.ts';
import type { RecordFormat } from '../../consumers/ports.ts';
import { asBytes, at, config, decode, good, json, rawBatch, type Settings } from '../support/decoding.ts';

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

  it('marks the kinds that only change the state', () => {
    const kinds = ['auth', 'refund', 7, 'auth'].map((kind) => ({ ...good, kind }));
    expect([...decode(kinds).batch.unscored]).toEqual([0, 0, 0, 0]);
    const { batch } = decode([kinds[1], 'x', ...kinds], { unscored: ['refund', 'reversal'] });
    expect([...batch.unscored.subarray(0, batch.count)]).toEqual([1, 0, 1, 1, 0]);
    const constant = { kind: { const: 'refund' }, unscored: ['refund'] };
    expect([...decode([good, good], constant).batch.unscored]).toEqual([1, 1]);
  });

  it('reads the transaction that an event refers to, by the rules of ids', () => {
    const settings = { refers_to: '$.original.id' };
    const records = [
      good,
      { original: { id: 't-0' } },
      { original: { id: 17 } },
      { original: null },
      { original: { id: '' } },
    ];
    const { batch, deadLetters } = decode(
      [...records, { original: { id: 'x'.repeat(257) } }, { original: { id: ' ' } }, { original: { id: {} } }].map(
        (record) => ({ ...good, ...record }),
      ),
      settings,
    );
    expect(batch.refersTo).toEqual(['', 't-0', '17', '', '']);
    expect(deadLetters.map(({ reason, message }) => `${reason}: ${message}`)).toEqual([
      expect.stringMatching(/^out-of-range: refers_to at \$\.original\.id: the id "x+"… has 257 characters/),
      'empty-id: refers_to at $.original.id: the id is blank',
      'wrong-type: refers_to at $.original.id: expected text, got an object',
    ]);
    expect(decode([good, { ...good, original: { id: 'x' } }]).batch.refersTo).toEqual(['', '']);
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

  it('has the record key, or the id of the key entity where the source has no keys', () => {
    const decoder = createDecoder(eventConfig.parse({ ...config, key: 'account' }), json);
    const records = [{ ...good, account: 'ü' }, 'x', good, { ...good, account: 'b' }].map(asBytes);
    const raw = rawBatch(records);
    expect(decoder.decode(raw, at).keys.map(String)).toEqual(['key-0', 'key-2', 'key-3']);
    const keyless = { ...raw, keys: raw.keys.map(() => null) };
    expect(decoder.decode(keyless, at).keys.map((key) => key && String(key))).toEqual(['ü', null, 'b']);
    const unnamed = createDecoder(eventConfig.parse(config), json);
    expect(unnamed.decode(keyless, at).keys).toEqual([null, null, null]);
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

describe('an event time', () => {
  it('is not compared with a timestamp that there is not', () => {
    for (const timestamp of [-1, Number.NaN]) expect(decode([good], { timestamp }).batch.count).toBe(1);
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
      'is later than the config allows',
      { ...good, ts: good.ts + 1 },
      'future-time',
      /^time at \$\.ts: 1700000000001 is later than event.time.max, 2023-11-14T22:13:20Z$/,
      { time: { path: '$.ts', unit: 'ms', max: '2023-11-14T22:13:20Z' } },
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
      timestamp: settings?.timestamp ?? good.ts - 300_000,
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

describe('the rules of a field', () => {
  const amountsOf = (amounts: readonly unknown[], rule: object) => {
    const settings = { fields: { amount: { path: '$.amount', ...rule } } };
    return amounts.map((amount) => {
      const { numbers, deadLetters } = decode([{ ...good, amount }], settings);
      return numbers('amount')[0] ?? deadLetters[0].reason;
    });
  };

  it('keep as many decimals as the scale says, or none where the input is in minor units', () => {
    const input = ['57.16', 57.16, 57, '57.160', '57.165'];
    expect(amountsOf(input, { type: 'money', scale: 2 })).toEqual([5716, 5716, 5700, 5716, 'out-of-range']);
    const minor = { type: 'money', scale: 2, unit: 'minor' };
    expect(amountsOf([5716, '5716', '57.16', -1], minor)).toEqual([5716, 5716, 'out-of-range', 'out-of-range']);
    expect(amountsOf(['57', '57.5'], { type: 'number' })).toEqual([57, 'out-of-range']);
  });

  it('bound it, in major units', () => {
    const rule = { type: 'number', scale: 2, min: -1.5, max: 2 };
    const input = ['-1.50', '-1.51', '2.00', '2.01'];
    expect(amountsOf(input, rule)).toEqual([-150, 'out-of-range', 200, 'out-of-range']);
    expect(amountsOf(input.slice(0, 2), { ...rule, unit: 'minor' })).toEqual(['out-of-range', 'out-of-range']);
    expect(amountsOf([-150, -151, 200, 201], { ...rule, unit: 'minor' })).toEqual([
      -150,
      'out-of-range',
      200,
      'out-of-range',
    ]);
    expect(amountsOf([-1e10, -1e10 - 1, 1e10, 1e10 + 1], { type: 'number' })).toEqual([
      -1e10,
      'out-of-range',
      1e10,
      'out-of-range',
    ]);
  });
});

describe('the time', () => {
  it('may be ahead of the broker by no more than the limit, and files have no broker', () => {
    expect(decode([good], { timestamp: good.ts - 300_000 }).deadLetters).toEqual([]);
    expect(decode([{ ...good, ts: 7e12 }]).deadLetters).toEqual([]);
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
      fc.property(fc.array(arbitrary, { maxLength: 20, size: 'max' }), (values) => {
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
