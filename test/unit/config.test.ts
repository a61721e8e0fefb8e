import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { deliveryOf } from '../../consumers/config.ts';
import { loadJob } from '../../consumers/load-config.ts';
import { WeirError } from '../../runtime/errors.ts';

let folder: string;
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const good = `job: test
source:
  file: { path: in.jsonl }
event:
  id: $.id
  time: { path: $.ts, unit: ms }
  kind: { const: authorization }
  fields:
    amount: { path: $.amount, type: money, scale: 2 }
    fraud: { path: $.fraud, type: flag }
  entities:
    card: { key: $.card }
  key: card
features:
  - { entity: card, windows: [1h, 24h], aggregates: [count, sum(amount)] }
state:
  embedded: { path: state }
model: { rules_only: true }
policy:
  - { name: burst, when: card.count.1h > 20, decision: review }
sink:
  file: { path: out.jsonl, dead_letters: dead.jsonl }
`;

function write(text: string): string {
  const file = join(folder, `${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}

const load = (text: string, overrides: string[] = [], env: Record<string, string> = {}) =>
  loadJob(write(text), { overrides, env, folder: '/work-folder' });

/** The faults of a config, without the file's name. */
function faultsOf(text: string, overrides: string[] = [], env: Record<string, string> = {}): string[] {
  const file = write(text);
  try {
    loadJob(file, { overrides, env, folder });
  } catch (error) {
    if (!(error instanceof WeirError)) throw error;
    expect(error.code).toBe('CONFIG');
    return error.message.split('\n').map((line) => line.replace(`${file}:`, '').trimStart());
  }
  return [];
}

describe('a job config', () => {
  it('tells faults of features, filters and rules beside those of other sections', () => {
    const text = good
      .replace('job: test', 'job: Test Job')
      .replace('sum(amount)]', 'sum(amont)]')
      .replace('sink:', 'filters: { odd: amount >>> 1 }\nsink:');
    expect(faultsOf(text)).toEqual([
      expect.stringMatching(/^1: job: /),
      expect.stringMatching(/^15: features\[0\].*amont.*did you mean amount\?/),
      expect.stringMatching(/^21: filters.odd: /),
    ]);
    // What hangs on a broken section cannot be told.
    expect(faultsOf(good.replace('unit: ms', 'unit: sec').replace('sum(amount)]', 'sum(amont)]'))).toHaveLength(1);
    const rule = good.replace('card.count.1h > 20', 'card.count.2h > 20').replace('path: in.jsonl', 'pth: in.jsonl');
    expect(faultsOf(rule)).toEqual([
      expect.stringMatching(/^3: source.file.path: the key is missing/),
      expect.stringMatching(/^3: source.file.pth: unknown key/),
      expect.stringMatching(/^20: policy.*card\.count\.2h.*did you mean card\.count\.1h\?/),
    ]);
  });

  it('knows keys that do not go together', () => {
    expect(faultsOf(good.replace('{ const: authorization }', '{ const: authorization, path: $.kind }'))).toEqual([
      '7: event.kind.path: it does not go with const: one of them must go',
    ]);
  });

  it('refuses a kind in filters and rules that no event is of', () => {
    const kinds = good
      .replace('{ const: authorization }', '{ path: $.kind, map: { a: authorization, r: refund, c: chargeback } }')
      .replace('sink:', 'filters:\n  some: KIND\nsink:');
    const fault = (kind: string, hint: string) =>
      `22: filters.some: event.kind gives no kind ${kind}${hint}; it gives authorization, refund, chargeback`;
    for (const [filter, faults] of [
      ['kind == "refnd"', [fault('refnd', ' (did you mean refund?)')]],
      ['amount > 1 and "auth" != kind', [fault('auth', '')]],
      ['kind in ("refund", "x", "y")', [fault('x', ''), fault('y', '')]],
      ['kind not in ("chargeback", "x")', [fault('x', '')]],
      ['kind == "refund" or kind == "chargeback"', []],
      ['outcome == "kind == x"', [expect.stringMatching(/unknown name outcome/)]],
    ] as const) {
      expect({ filter, faults: faultsOf(kinds.replace('KIND', filter)) }).toEqual({ filter, faults });
    }
    expect(faultsOf(good.replace('card.count.1h > 20', 'kind == "refund" and card.count.1h > 20'))).toEqual([
      '20: policy[0].when: event.kind gives no kind refund; it gives authorization',
    ]);
  });

  it('says once that an override names an entry that a list does not have', () => {
    expect(faultsOf(good, ['features.9.windows=[1h]'])).toEqual([
      '--set features.9.windows=[1h]: no entry features.9: it has features.0 to features.0, features.1 adds one',
    ]);
    const added = load(good, ['features.1={entity: card, windows: [7d], aggregates: [count]}']);
    expect(added.set.names).toContain('card.count.7d');
  });

  it('hints at quotes where a variable breaks a flow map', () => {
    const hint = /; within \{ \} and \[ \] a variable stands in quotes: "\$\{NAME\}"$/;
    for (const file of ['path: ${IN}', 'path: ${IN:-x}/in.jsonl']) {
      expect(faultsOf(good.replace('path: in.jsonl', file))).toEqual([expect.stringMatching(hint)]);
    }
    expect(faultsOf(good.replace('[1h, 24h]', '[${W}, 24h]'))).toEqual([expect.stringMatching(hint)]);
    expect(faultsOf(good.replace('{ path: in.jsonl }', '{ path: in.jsonl'))).toEqual([expect.not.stringMatching(hint)]);
  });

  it('is one object with defaults filled in', () => {
    const { config, set, policy } = load(good);
    expect(config).toMatchObject({
      job: 'test',
      batch: { max_events: 1000 },
      log: { level: 'info' },
    });
    expect(deliveryOf(config)).toBe('exactly-once');
    expect(set.names).toEqual(['card.count.1h', 'card.count.24h', 'card.sum.amount.1h', 'card.sum.amount.24h']);
    expect(policy.rules).toHaveLength(1);
  });

  it('names every fault with its line', () => {
    const text = good
      .replace('scale: 2 }', 'scale: 99 }')
      .replace('key: card\n', 'kee: card\n')
      .replace('unit: ms', 'unit: hours')
      .replace('job: test', 'job: Test Job');
    expect(faultsOf(text)).toEqual([
      expect.stringMatching(/^1: job: lower-case letters, digits and hyphens.*got "Test Job"/),
      '6: event.time.unit: expected ms or s or us or iso, got "hours"',
      expect.stringMatching(/^9: event.fields.amount.scale: .*99/),
      '13: event.kee: unknown key (did you mean key?)',
    ]);
  });

  it('names what does not fit together, with its line', () => {
    const text = good
      .replace('count, sum(amount)', 'cuont, sum(amuont)')
      .replace('key: card\n', 'key: cart\n')
      .replace('decision: review', 'decision: review')
      .replace(
        'sink:\n  file: { path: out.jsonl, dead_letters: dead.jsonl }',
        'sink:\n  kafka: { topic: a, dead_letters: b }',
      );
    expect(faultsOf(text)).toEqual([
      '13: event.key: there is no entity cart (did you mean card?)',
      expect.stringMatching(/^15: features\[0\].aggregates\[0\]: there is no aggregate cuont \(did you mean count\?\)/),
      expect.stringMatching(/^15: features\[0\].aggregates\[1\]: there is no field amuont \(did you mean amount\?\)/),
      expect.stringMatching(/^22: sink.kafka: brokers is missing/),
    ]);
    expect(faultsOf(good.replace('card.count.1h > 20', 'card.cuont.1h > 20'))).toEqual([
      expect.stringMatching(/^20: policy\[0\].when: .*card.cuont.1h.*did you mean card.count.1h\?/),
    ]);
  });

  it('says what is meant where an entity is made of something that there is not', () => {
    const withEntity = (entity: string) =>
      good.replace('card: { key: $.card }', `card: { key: $.card }\n    it: ${entity}`);
    const fault = (entity: string) => faultsOf(withEntity(entity));
    expect(fault('{ key: $.email, as: emial }')).toEqual([
      '13: event.entities.it.as: there is no function emial (did you mean email?); there are ip/N, ip/N/M, email, email-domain, bin, bin/8, lower',
    ]);
    expect(fault('{ key: $.email, as: toString }')).toEqual([
      expect.stringMatching(/^13: event.entities.it.as: there is no function toString;/),
    ]);
    for (const name of ['ip', 'ip/7', 'ip/129', 'ip/33/64', 'ip/24/7', 'ip/24/129', 'ip/024', 'ipv4/24', 'ip/24/']) {
      expect(fault(`{ key: $.ip, as: ${name} }`)).toEqual([
        expect.stringContaining(`13: event.entities.it.as: ${name} is no network: ip/24 is of 24 bits`),
      ]);
    }
    for (const name of ['ip/8', 'ip/32', 'ip/33', 'ip/128', 'ip/8/8', 'ip/32/128']) {
      expect(fault(`{ key: $.ip, as: ${name} }`)).toEqual([]);
    }
    expect(fault('\n      key:\n        - $.card\n        - path: $.ip\n          as: ip/240')).toEqual([
      expect.stringContaining('17: event.entities.it.key[1].as: ip/240 is no network'),
    ]);
    const amount = good.replace('type: money,', 'type: money, as: lower,');
    expect(faultsOf(amount)).toEqual([
      '9: event.fields.amount.as: it is for text fields, and this one is of type money',
    ]);
    expect(fault('{ key: [$.card, $.ip], as: ip/24 }')).toEqual([
      '13: event.entities.it.as: with several parts it stands at the part: { path: $.device.ip, as: ip/24 }',
    ]);
    expect(fault('{ key: [$.card] }')).toEqual([expect.stringMatching(/^13: event.entities.it.key: a list of 2 to 4/)]);
    expect(fault('{ key: [$.card, ip] }')).toEqual([
      expect.stringMatching(/^13: event.entities.it.key\[1\]: a path such as .*got "ip"$/),
    ]);
    expect(fault('{ key: card }')).toEqual([expect.stringMatching(/^13: event.entities.it.key: a path such as /)]);
    expect(fault('{ key: [$.card, { path: $.ip, as: ip/24 }], optional: true, tokenise: true }')).toEqual([
      '4: event: token_key is missing: `tokenise` needs it',
    ]);
  });

  it('says that no value can reach a bound', () => {
    const amount = (rest: string) => good.replace('type: money, scale: 2', `type: money, ${rest}`);
    expect(faultsOf(amount('scale: 5, max: 10000000000'))).toEqual([
      '9: event.fields.amount.max: with scale 5 a number is at most 5629499534: lower the bound, or keep fewer decimals',
    ]);
    expect(faultsOf(amount('scale: 5, min: -6e9'))).toEqual([expect.stringMatching(/^9: event.fields.amount.min: /)]);
    expect([faultsOf(amount('scale: 5, max: 5629499534')), faultsOf(amount('scale: 8'))]).toEqual([[], []]);
  });

  it('takes a latest time as ISO 8601 or milliseconds', () => {
    const time = (max: string) => good.replace('unit: ms }', `unit: ms, max: ${max} }`);
    expect(faultsOf(time('2027-01-01'))).toEqual([]);
    expect(faultsOf(time('1800000000000'))).toEqual([]);
    expect(faultsOf(time('tomorrow'))).toEqual([
      expect.stringMatching(/^6: event.time.max: a time such as 2027-01-01/),
    ]);
  });

  it('does not let a job read its own output, nor write over its own notes', () => {
    const kafka = (sink: string) =>
      good
        .replace('file: { path: in.jsonl }', 'kafka: { brokers: ["a:1"], topic: t, group: g }')
        .replace('file: { path: out.jsonl, dead_letters: dead.jsonl }', `kafka: { ${sink} }`);
    expect(faultsOf(kafka('topic: t, dead_letters: d'))).toEqual([
      expect.stringMatching(/^\d+: sink.kafka.topic: it is the topic that the job reads/),
    ]);
    expect(faultsOf(kafka('topic: o, dead_letters: t, brokers: ["a:1"]'))).toEqual([
      expect.stringMatching(/^\d+: sink.kafka.dead_letters: it is the topic that the job reads/),
    ]);
    expect(faultsOf(`${kafka('topic: t, dead_letters: d, brokers: ["b:1"]')}delivery: at-least-once\n`)).toEqual([]);
    for (const beside of ['checkpoint', 'checkpoint.next', 'lock']) {
      expect(faultsOf(good.replace('dead.jsonl', `out.jsonl.${beside}`))).toEqual([
        expect.stringMatching(/^\d+: sink.file.dead_letters: it is one of the files that stand beside path/),
      ]);
    }
  });

  it('says what Kinesis goes with, and that it is at-least-once', () => {
    const with_ = (source: string, sink: string, more = '') =>
      good
        .replace('file: { path: in.jsonl }', source)
        .replace('file: { path: out.jsonl, dead_letters: dead.jsonl }', sink) + more;
    const [file, fromKinesis] = ['file: { path: in.jsonl }', 'kinesis: { stream: t, application: app }'];
    const [toFile, toKinesis] = ['file: { path: o, dead_letters: d }', 'kinesis: { stream: o, dead_letters: d }'];
    const fromKafka = 'kafka: { brokers: ["a:1"], topic: t, group: g }';
    for (const [source, sink] of [
      [fromKinesis, toKinesis],
      [fromKafka, toKinesis],
      [fromKinesis, 'kafka: { topic: o, dead_letters: d, brokers: ["a:1"] }'],
    ]) {
      expect(deliveryOf(load(with_(source, sink)).config)).toBe('at-least-once');
      expect(faultsOf(with_(source, sink, 'delivery: at-least-once\n'))).toEqual([]);
      expect(faultsOf(with_(source, sink, 'delivery: exactly-once\n'))).toEqual([
        expect.stringMatching(/^23: delivery: Kinesis has no transactions/),
      ]);
    }
    expect(faultsOf(with_(fromKinesis, toFile))).toEqual([expect.stringMatching(/^22: sink.file: a Kinesis source/)]);
    expect(faultsOf(with_(file, toKinesis))).toEqual([expect.stringMatching(/^22: sink.kinesis: neither a file/)]);
    expect(faultsOf(with_(fromKinesis, 'kinesis: { stream: o, dead_letters: t }'))).toEqual([
      expect.stringMatching(/^22: sink.kinesis.dead_letters: it is the stream that the job reads/),
    ]);
    const elsewhere = 'kinesis: { stream: t, dead_letters: d, region: eu-west-1 }';
    expect(faultsOf(with_(fromKinesis, elsewhere))).toEqual([]);
  });

  it('subscribes by the name of the application, or by one of its own', () => {
    const faultsWith = (application: string, fanOut: string) =>
      faultsOf(
        good
          .replace(
            'file: { path: in.jsonl }',
            `kinesis: { stream: t, application: ${application}, fan_out: ${fanOut} }`,
          )
          .replace('file: { path: out.jsonl, dead_letters: dead.jsonl }', 'kinesis: { stream: o, dead_letters: d }'),
      );
    expect(faultsWith('a'.repeat(128), '{}')).toEqual([]);
    expect(faultsWith('a'.repeat(129), '{}')).toEqual([
      expect.stringMatching(/source.kinesis.fan_out.consumer: the name of the application is too long/),
    ]);
    expect(faultsWith('a'.repeat(129), '{ consumer: weir }')).toEqual([]);
    const short = [
      expect.stringMatching(/source.kinesis.lease_table: the name of a DynamoDB table has 3 characters at least$/),
    ];
    expect(faultsWith('ab', '{ consumer: weir }')).toEqual(short);
    expect(faultsWith('ab', '{ consumer: weir }, lease_table: abc')).toEqual([]);
  });

  it('wants to know what keys a source of tokenised ids', () => {
    const kafka = good
      .replace('file: { path: in.jsonl }', 'kafka: { brokers: ["a:1"], topic: t, group: g }')
      .replace('card: { key: $.card }', 'card: { key: $.card, tokenise: true }')
      .replace('  key: card\n', '  token_key: 0123456789abcdef\n');
    expect(faultsOf(kafka)).toEqual([expect.stringMatching(/^4: event: key is missing: with `tokenise` /)]);
    expect(faultsOf(kafka.replace('  token_key', '  key: card\n  token_key'))).toEqual([]);
  });

  it('says that a kind cannot occur', () => {
    const kinds = good.replace(
      'kind: { const: authorization }',
      'kind: { path: $.type, map: { a: authorization, r: refund, c: chargeback } }\n  unscored: [refund, chargebak]',
    );
    expect(faultsOf(kinds)).toEqual([
      '8: event.unscored[1]: event.kind gives no kind chargebak (did you mean chargeback?); it gives authorization, refund, chargeback',
    ]);
    expect(load(kinds.replace('chargebak]', 'chargeback]')).config.event.unscored).toEqual(['refund', 'chargeback']);
    expect(faultsOf(good.replace('  fields:', '  unscored: [refund]\n  fields:'))).toEqual([
      '8: event.unscored[0]: event.kind gives no kind refund; it gives authorization',
    ]);
  });

  it('says which section must have exactly one of what', () => {
    const both = good.replace(
      'file: { path: in.jsonl }',
      'file: { path: in.jsonl }\n  kafka: { brokers: ["a:1"], topic: t, group: g }',
    );
    expect(faultsOf(both)).toEqual(['2: source: a job has exactly one source: kafka, kinesis or file']);
    expect(faultsOf(good.replace('  embedded: { path: state }', '  flush_interval_ms: 5'))).toEqual([
      expect.stringMatching(/^16: state: .*redis.*embedded/),
    ]);
    expect(faultsOf(good.replace(/state:\n.*\n/, ''))).toEqual(['state: the key is missing']);
    expect(faultsOf(`${good}delivery: at-least-once\n`)).toEqual([
      expect.stringMatching(/^23: delivery: .*from stream to stream/),
    ]);
  });

  it('fills in the environment, and keeps types', () => {
    const text = good.replace('in.jsonl', '"${DIR:-data}/in.jsonl"').concat('metrics: { port: "${PORT}" }\n');
    const { config } = load(text, [], { PORT: '9100' });
    expect(config.metrics?.port).toBe(9100);
    expect(config.source.file?.path).toBe(join(folder, 'data/in.jsonl'));
    expect(load(good.replace('job: test', 'job: ${JOB}'), [], { JOB: 'x1' }).config.job).toBe('x1');
    expect(faultsOf(text)).toEqual([expect.stringMatching(/^23: the environment variable PORT is not set/)]);
    expect(faultsOf(text, [], { PORT: 'many' })).toEqual(['23: metrics.port: expected a number, got "many"']);
  });

  it('leaves a text from outside a text, whatever it looks like', () => {
    const kafka = good.replace(
      'file: { path: in.jsonl }',
      'kafka: { brokers: ["a:1"], topic: t, group: g, sasl: { mechanism: plain, username: u, password: "${PASSWORD}" } }',
    );
    for (const password of ['12345', 'true', '{a', '# x', 'a: b'])
      expect(load(kafka, [], { PASSWORD: password }).config.source.kafka?.sasl?.password).toBe(password);
    expect(load(kafka, ['source.kafka.sasl.password=007'], { PASSWORD: 'x' }).config.source.kafka?.sasl?.password).toBe(
      '007',
    );
  });

  it('takes overrides: scalars, lists, removal, new keys', () => {
    const { config } = load(good, [
      'batch.max_events=7',
      'features.0.windows=[5m, 1h]',
      'event.key=null',
      'log.level=warn',
    ]);
    expect(config.batch.max_events).toBe(7);
    expect(config.features[0].windows).toEqual(['5m', '1h']);
    expect(config.event.key).toBeUndefined();
    expect(config.log.level).toBe('warn');
    const other = [
      'source.file=null',
      'source.kafka.brokers=["k:9092"]',
      'source.kafka.topic=t',
      'source.kafka.group=g',
    ];
    expect(load(good, other).config.source).toMatchObject({ kafka: { brokers: ['k:9092'], topic: 't' } });
    expect(faultsOf(good, ['batch.max_evnts=7'])).toEqual([
      expect.stringMatching(/batch.max_evnts: unknown key \(did you mean max_events\?\)/),
    ]);
    expect(() => load(good, ['nonsense'])).toThrow(/--set wants key.path=value/);
  });

  it('starts paths from the file, and those from outside from where the command runs', () => {
    const { config } = load(good.replace('in.jsonl', '"${INPUT}"'), ['sink.file.path=risk.jsonl'], {
      INPUT: 'x/in.jsonl',
    });
    expect(config.source.file?.path).toBe('/work-folder/x/in.jsonl');
    expect(config.sink.file?.path).toBe('/work-folder/risk.jsonl');
    expect(config.sink.file?.dead_letters).toBe(join(folder, 'dead.jsonl'));
    expect(config.state.embedded?.path).toBe(join(folder, 'state'));
  });

  it('says that a file is missing, is no YAML, or holds no keys', () => {
    const inputs = { overrides: [], env: {}, folder };
    expect(() => loadJob(join(folder, 'none.yaml'), inputs)).toThrow(/none.yaml cannot be read/);
    mkdirSync(join(folder, 'dir.yaml'));
    expect(() => loadJob(join(folder, 'dir.yaml'), inputs)).toThrow(/cannot be read/);
    expect(faultsOf('a: 1\nb: [1')).toEqual([expect.stringMatching(/^2: no valid YAML: /)]);
    expect(faultsOf('just text')).toEqual([expect.stringMatching(/expected keys such as job/)]);
    expect(faultsOf('')).toEqual([expect.stringMatching(/expected keys such as job/)]);
  });

  it('is the same after a round trip through YAML', () => {
    expect(load(stringify(parse(good))).set.hash).toBe(load(good).set.hash);
  });
});
