import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder, layoutOf } from '../../consumers/decode/decoder.ts';
import type { RecordFormat } from '../../consumers/ports.ts';
import { featuresConfig } from '../../features/config.ts';
import { compileFeatures } from '../../features/definition.ts';
import { asBytes, at, config, decode, good, json, rawBatch } from '../support/decoding.ts';

/** Ids of one entity, or why its record was refused. */
function idsOf(entity: object, records: readonly object[]): string[] {
  const { batch, deadLetters } = decode(
    records.map((record) => ({ ...good, ...record })),
    { entities: { it: entity } },
  );
  const ids: string[] = [];
  for (let row = 0; row < batch.count; row++) ids[batch.rawIndexes[row]] = batch.entityIds[0][row];
  for (const { offset, reason, message } of deadLetters) ids[(offset - 100) / 2] = `${reason}: ${message}`;
  return ids;
}

const made = (as: string, ...values: unknown[]) =>
  idsOf(
    { key: '$.value', as },
    values.map((value) => ({ value })),
  );

describe('an id that is made of a value', () => {
  it('by a network', () => {
    expect(made('ip/24', '10.1.2.3', '::ffff:10.1.2.9', '2001:db8:1:2::3', '10.1.2', 'localhost')).toEqual([
      '10.1.2.0/24',
      '10.1.2.0/24',
      '2001:d00::/24',
      'wrong-type: it at $.value: expected an IP address, got "10.1.2"',
      'wrong-type: it at $.value: expected an IP address, got "localhost"',
    ]);
    expect(made('ip/24/56', '10.1.2.3', '2001:db8:1:2ff::3')).toEqual(['10.1.2.0/24', '2001:db8:1:200::/56']);
    expect(made('ip/64', '10.1.2.3', '2001:db8:1:2ff::3')).toEqual(['10.1.2.3/32', '2001:db8:1:2ff::/64']);
    expect(made('ip/8', '10.1.2.3')).toEqual(['10.0.0.0/8']);
  });

  it('by an e-mail address or its domain', () => {
    const addresses = [' Ann.B+x@Example.COM\n', '"a@b"@c.org', 'ÄNN@bücher.example', 'nobody', 'a@', '@x', 'a@ '];
    expect(made('email', ...addresses)).toEqual([
      'ann.b+x@example.com',
      '"a@b"@c.org',
      'änn@bücher.example',
      'nobody',
      'a@',
      '@x',
      'a@',
    ]);
    expect(made('email-domain', ...addresses)).toEqual([
      'example.com',
      'c.org',
      'bücher.example',
      'wrong-type: it at $.value: expected an e-mail address, got "nobody"',
      'wrong-type: it at $.value: expected an e-mail address, got "a@"',
      'x',
      'wrong-type: it at $.value: expected an e-mail address, got "a@ "',
    ]);
  });

  it('by the first digits of a card number', () => {
    const numbers = ['4111111111111111', 4111111111111111, '4111 1111-1111 1111', '411111******1111', '453201', '4532'];
    expect(made('bin', ...numbers)).toEqual([
      ...['411111', '411111', '411111', '411111', '453201'],
      'wrong-type: it at $.value: expected a card number\'s first 6 digits, got "4532"',
    ]);
    expect(made('bin/6', numbers[0])).toEqual(['411111']);
    expect(made('bin/8', ...numbers.slice(0, 4))).toEqual([
      ...['41111111', '41111111', '41111111'],
      'wrong-type: it at $.value: expected a card number\'s first 8 digits, got "411111******1111"',
    ]);
    expect(made('bin', '４１１１１１', '😀😀😀😀')).toEqual([
      expect.stringMatching(/^wrong-type/),
      expect.stringMatching(/^wrong-type/),
    ]);
  });

  it('by lower case, and nothing else', () => {
    expect(made('lower', 'ABC', ' a', 'ÀÉ', 'É')).toEqual(['abc', ' a', 'àé', 'é']);
  });

  it('is missing, blank or absent as any other', () => {
    const values = [{}, { value: null }, { value: '' }, { value: ' ' }, { value: '\u00a0' }];
    const blank = 'empty-id: it at $.value: the id is blank';
    const missing = 'missing-field: it at $.value: the value is missing';
    for (const as of ['email', 'ip/24', undefined]) {
      expect(idsOf({ key: '$.value', as }, values)).toEqual([
        missing,
        missing,
        'empty-id: it at $.value: the id is empty',
        blank,
        blank,
      ]);
      expect(idsOf({ key: '$.value', as, optional: true }, values)).toEqual(['', '', '', blank, blank]);
    }
    expect(idsOf({ key: '$.value', as: 'ip/24', optional: true }, [{ value: '10' }])).toEqual([
      'wrong-type: it at $.value: expected an IP address, got "10"',
    ]);
  });
});

describe('a text field that is made of a value', () => {
  const textsOf = (rule: object, ...values: unknown[]) => {
    const fields = { it: { path: '$.value', type: 'text', ...rule } };
    const { texts, deadLetters } = decode(
      values.map((value) => ({ ...good, value })),
      { fields },
    );
    return [...texts('it'), ...deadLetters.map(({ reason, message }) => `${reason}: ${message}`)];
  };

  it('is made as ids are', () => {
    expect(textsOf({ as: 'email' }, ' A@B.c', 'a@b.c')).toEqual(['a@b.c', 'a@b.c']);
    expect(textsOf({ as: 'ip/24' }, '10.1.2.3', 'x')).toEqual([
      '10.1.2.0/24',
      'wrong-type: it at $.value: expected an IP address, got "x"',
    ]);
  });

  it('may be missing where it is optional', () => {
    expect(textsOf({ as: 'email', optional: true }, undefined, null, '', ' ')).toEqual(['', '', '', '']);
    const missing = 'missing-field: it at $.value: the value is missing';
    expect(textsOf({ as: 'email' }, undefined, '', ' ')).toEqual([missing, missing, missing]);
    expect(textsOf({}, ' ')).toEqual([' ']);
  });
});

describe('what features depend on', () => {
  const layout = (fields: object, entities: object) => layoutOf(eventConfig.parse({ ...config, fields, entities }));

  it('has in it what ids and texts are made by, whatever path they come from', () => {
    const entities = {
      plain: { key: '$.a' },
      network: { key: '$.b', as: 'ip/24' },
      pair: { key: ['$.a', { path: '$.b', as: 'ip/24' }] },
    };
    const fields = { email: { path: '$.e', type: 'text', as: 'email' }, other: { path: '$.e', type: 'text' } };
    expect(layout(fields, entities).entities.map(({ made }) => made)).toEqual([undefined, 'ip/24', 'id, ip/24']);
    expect(layout(fields, entities).fields.map(({ made }) => made)).toEqual(['email', undefined]);
  });

  it('is another set of features and another state when it changes', () => {
    const compile = (as: string | undefined, key = '$.b', emails: string | undefined = undefined) => {
      const fields = { email: { path: '$.e', type: 'text', as: emails } };
      const features = featuresConfig.parse([{ entity: 'it', windows: ['1h'], aggregates: ['distinct(email)'] }]);
      const { set } = compileFeatures(features, {}, layout(fields, { it: { key, as } }), 0);
      return { definition: set!.definitions[0], recipe: set!.recipe };
    };
    const plain = compile(undefined);
    expect(compile(undefined, '$.c')).toEqual(plain);
    for (const other of [compile('ip/24'), compile('ip/16'), compile(undefined, '$.b', 'email')]) {
      expect(other.definition).not.toBe(plain.definition);
      expect(other.recipe).not.toBe(plain.recipe);
    }
    expect(compile('ip/24').definition).toContain('of the it (ip/24)');
    expect(compile('ip/24').recipe).not.toBe(compile('ip/16').recipe);
  });
});

describe('an id of several parts', () => {
  const entity = { key: ['$.a', '$.b'] };

  it('joins them', () => {
    expect(
      idsOf(entity, [
        { a: 'c', b: 'm' },
        { a: 1, b: true },
        { a: 'x|y', b: 'z\\' },
      ]),
    ).toEqual(['c|m', '1|true', 'x\\|y|z\\\\']);
    const mixed = { key: ['$.a', { path: '$.b', as: 'ip/24' }, { path: '$.c', as: 'email-domain' }] };
    expect(idsOf(mixed, [{ a: 'x', b: '10.1.2.3', c: 'a@B.c' }])).toEqual(['x|10.1.2.0/24|b.c']);
    expect(idsOf(mixed, [{ a: 'x', b: '10', c: 'a@B.c' }])).toEqual([
      'wrong-type: it at $.b: expected an IP address, got "10"',
    ]);
  });

  it('is absent when one of them is', () => {
    const records = [{ a: 'c' }, { b: 'm' }, {}, { a: '', b: 'm' }, { a: 'c', b: 'm' }];
    expect(idsOf({ ...entity, optional: true }, records)).toEqual(['', '', '', '', 'c|m']);
    expect(idsOf(entity, records.slice(0, 4))).toEqual([
      'missing-field: it at $.b: the value is missing',
      'missing-field: it at $.a: the value is missing',
      'missing-field: it at $.a: the value is missing',
      'empty-id: it at $.a: the id is empty',
    ]);
  });

  it('is refused for a bad part whichever is absent', () => {
    const optional = { ...entity, optional: true };
    const refused = (part: string) => `wrong-type: it at $.${part}: expected text, got an object`;
    expect(idsOf(optional, [{ a: {} }, { b: {} }])).toEqual([refused('a'), refused('b')]);
  });

  it('is never that of other parts', () => {
    const part = fc.string({ unit: fc.constantFrom('|', '\\', 'a', '|a', '\\|'), minLength: 1, maxLength: 5 });
    const parts = fc.tuple(part, part, part);
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const [first, second] = idsOf(
          { key: ['$.a', '$.b', '$.c'] },
          [one, other].map(([a, b, c]) => ({ a, b, c })),
        );
        expect(first === second).toBe(one.every((text, index) => text === other[index]));
      }),
      { numRuns: 2000 },
    );
  });

  it('is the key of records that come without one', () => {
    const settings = { ...config, entities: { it: entity, ...config.entities }, key: 'it' };
    const decoder = createDecoder(eventConfig.parse(settings), json);
    const raw = rawBatch([asBytes({ ...good, a: 'ü', b: 'm' })]);
    expect(decoder.decode({ ...raw, keys: [null] }, at).keys.map(String)).toEqual(['ü|m']);
  });

  it('may be read from CSV', () => {
    const format: RecordFormat = { type: 'csv', columns: ['id', 'ts', 'a', 'b'], delimiter: ',' };
    const mapping = { format, kind: { const: 'x' }, fields: {}, entities: { it: entity } };
    expect(decode(['1,1,"c,1",m'], mapping).batch.entityIds).toEqual([['c,1|m']]);
    const open = () =>
      createDecoder(eventConfig.parse({ ...config, ...mapping, format: 'csv' }), {
        ...format,
        columns: ['id', 'ts', 'a'],
      });
    expect(open).toThrow(/^event\.entities\.it\.key\[1\] is \$\.b, but the CSV input has no column b/);
  });
});

describe('any Unicode in an id', () => {
  const anyText = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 });
  const broken = fc
    .tuple(anyText, fc.integer({ min: 0xd800, max: 0xdfff }), anyText)
    .map(([before, unit, after]) => before + String.fromCharCode(unit) + after)
    .filter((text) => !text.isWellFormed());

  it('survives, or the record is refused: nothing is altered, nothing is lost', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(anyText, broken), { maxLength: 5 }), (texts) => {
        const ids = idsOf(
          { key: '$.value' },
          texts.map((value) => ({ value })),
        );
        for (const [index, text] of texts.entries()) {
          if (!text.isWellFormed()) expect(ids[index]).toMatch(/^wrong-type: .* is no valid Unicode text$/s);
          else if (text.trim() === '') expect(ids[index]).toMatch(/^empty-id: /);
          else expect(ids[index]).toBe(text);
          // What is kept has a UTF-8 of its own, which is all that stores and outputs see.
          expect(Buffer.from(ids[index]).toString()).toBe(ids[index]);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('survives CSV, where bytes that are no text are refused', () => {
    const format: RecordFormat = { type: 'csv', columns: ['id', 'ts', 'it'], delimiter: ',' };
    const mapping = { format, kind: { const: 'x' }, fields: {}, entities: { it: { key: '$.it' } } };
    fc.assert(
      fc.property(anyText, (text) => {
        fc.pre(text.trim() !== '');
        const { batch } = decode([`1,1,"${text.replaceAll('"', '""')}"`], mapping);
        expect(batch.entityIds).toEqual([[text]]);
      }),
      { numRuns: 500 },
    );
    const surrogate = Buffer.concat([Buffer.from('1,1,a'), Buffer.from([0xed, 0xa0, 0x80])]);
    expect(decode([surrogate], mapping).deadLetters[0]).toMatchObject({ message: 'the bytes are not UTF-8' });
  });

  it('is one text in one form: composed and decomposed letters stay two ids', () => {
    expect(made('lower', '\u00e9', 'e\u0301')).toEqual(['\u00e9', 'e\u0301']);
  });

  it('leaves out numbers that may have been another number in the record', () => {
    const ids = [0.1, 1.5, 12, -3];
    expect(
      idsOf(
        { key: '$.value' },
        ids.map((value) => ({ value })),
      ),
    ).toEqual([
      expect.stringMatching(/^wrong-type: .*0\.1 may have lost digits in JSON/),
      expect.stringMatching(/^wrong-type: /),
      '12',
      '-3',
    ]);
  });
});
