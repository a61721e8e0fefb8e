import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { kinesisSinkConfig } from '../../consumers/kinesis/config.ts';
import { createKinesisSink, type KinesisSink } from '../../consumers/kinesis/sink.ts';
import { type AwsService, emulatorEnv, startKinesis } from '../../infra/services/aws.ts';
import { systemClock } from '../../runtime/clock.ts';
import { deadLetter, describeSinkContract, event } from '../contract/sink.ts';
import { type TestKinesis, testKinesis } from '../support/kinesis.ts';
import { ownedPartition } from '../support/owned-partition.ts';

let service: AwsService;
let kinesis: TestKinesis;
beforeAll(async () => {
  Object.assign(process.env, emulatorEnv);
  service = await startKinesis();
  kinesis = testKinesis(service.url);
});
afterAll(async () => {
  kinesis.close();
  await service.stop();
});

let streams = 0;

async function createStreams(): Promise<{ readonly stream: string; readonly dead_letters: string }> {
  const name = `scored-${process.pid}-${streams++}`;
  const names = { stream: name, dead_letters: `${name}-dead` };
  for (const stream of Object.values(names)) await kinesis.createStream(stream, 1);
  return names;
}

function openSink(settings: object): KinesisSink {
  return createKinesisSink(kinesisSinkConfig.parse(settings), {
    connection: { endpoint: service.url },
    job: 'test',
    clock: systemClock,
  });
}

interface Line {
  readonly id: string;
  readonly time: string;
  readonly data: unknown;
}

describeSinkContract('kinesis', {
  hasKeys: true,
  isExactlyOnce: false,
  async create() {
    const names = await createStreams();
    return {
      open: () => openSink(names),
      ownership: ownedPartition('input'),
      async events() {
        return (await kinesis.read(names.stream)).map(({ key, value }) => {
          const { id, time, data } = JSON.parse(value) as Line;
          // Without a key an event goes by its id.
          return { key: key === id ? null : key, id, time, data: JSON.stringify(data) };
        });
      },
      async deadLetters() {
        return (await kinesis.read(names.dead_letters)).map(({ value }) => {
          const { key: _, value: text, encoding, ...letter } = JSON.parse(value);
          const bytes = text === null ? null : Buffer.from(text, encoding ?? 'utf8');
          return { ...letter, value: bytes?.toString('hex') ?? null };
        });
      },
      remove: async () => {
        for (const stream of Object.values(names)) await kinesis.deleteStream(stream);
      },
    };
  },
});

describe('the Kinesis sink', () => {
  it('writes CloudEvents in structured JSON, under the key of the source record', async () => {
    const names = await createStreams();
    const sink = openSink(names);
    const output = await sink.open(ownedPartition('input'));
    await output.publish({ events: [event(7)], deadLetters: [] }, 8);
    await sink.close();
    const [record] = await kinesis.read(names.stream);
    expect(record.key).toBe('key-2');
    expect(JSON.parse(record.value)).toEqual({
      specversion: '1.0',
      id: 'input:0:7',
      source: '/weir/test',
      type: 'weir.risk.scored.v1',
      time: event(7).time,
      datacontenttype: 'application/json',
      data: { n: 7, text: 'größer' },
    });
  });

  it('cuts a dead letter that no record has room for', async () => {
    const names = await createStreams();
    const sink = openSink({ ...names, max_record_bytes: 10_000 });
    const output = await sink.open(ownedPartition('input'));
    const value = Buffer.alloc(50_000, '"');
    await output.publish({ events: [], deadLetters: [deadLetter(3, value)] }, 4);
    await sink.close();
    const [record] = await kinesis.read(names.dead_letters);
    const letter = JSON.parse(record.value);
    expect(letter).toMatchObject({ offset: 3, reason: 'not-json', encoding: 'base64', truncated_from: 50_000 });
    const kept = Buffer.from(letter.value, 'base64');
    expect(kept.equals(value.subarray(0, kept.length))).toBe(true);
    expect(kept.length).toBeGreaterThan(7_000);
    expect(record.key.length + Buffer.byteLength(record.value)).toBeLessThanOrEqual(10_000);
  });

  it('says at the start which stream is missing', async () => {
    const sink = openSink({ stream: 'nowhere', dead_letters: 'nowhere-either' });
    await expect(sink.connect()).rejects.toMatchObject({ code: 'OUTPUT', message: expect.stringMatching(/nowhere/) });
    await sink.close();
  });
});
