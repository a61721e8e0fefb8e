import { z } from 'zod';
import { eventType } from './cloud-event.ts';
import { riskEvent } from './risk-event.ts';

/** A risk event in CloudEvents' structured mode: a line of the file sink. */
export const cloudEvent = z
  .strictObject({
    specversion: z.literal('1.0'),
    id: z.string().meta({ description: '{stream}:{partition}:{offset} of the input record; equal ids, equal event' }),
    source: z
      .string()
      .regex(/^\/weir\//)
      .meta({ description: '/weir/{job}' }),
    type: z.literal(eventType),
    time: z.iso.datetime({ precision: 3 }).meta({ description: 'The event time' }),
    datacontenttype: z.literal('application/json'),
    data: riskEvent,
  })
  .meta({ title: 'Weir risk event as a CloudEvent', description: 'CloudEvents 1.0, structured JSON mode' });

/** CloudEvents' binary mode in Kafka: the same attributes as record headers. */
const riskHeaders = z.strictObject({
  ce_specversion: cloudEvent.shape.specversion,
  ce_id: cloudEvent.shape.id,
  ce_source: cloudEvent.shape.source,
  ce_type: cloudEvent.shape.type,
  ce_time: cloudEvent.shape.time,
  'content-type': cloudEvent.shape.datacontenttype,
});

export type JsonSchema = Record<string, unknown>;

/**
 * The JSON Schema of a definition. What is strict for the writer is open for the reader: later versions of the same type may add
 * properties, and who validates must not refuse them.
 */
export function publishedSchema(
  definition: z.ZodType,
  target: 'draft-2020-12' | 'draft-7' = 'draft-2020-12',
): JsonSchema {
  return z.toJSONSchema(definition, {
    target,
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
    },
  });
}

/** What the AsyncAPI document says of dead letters, which are not scoring's to define. */
export interface DeadLetterContract {
  readonly headers: z.ZodType;
  readonly description: string;
  /** Records beside them that say that one was put back. */
  readonly marks: { readonly headers: z.ZodType; readonly description: string };
}

/** Both topics of a job with a Kafka sink as an AsyncAPI 3 document. Topic names are those of the examples: the config sets them. */
export function asyncApi(deadLetters: DeadLetterContract): JsonSchema {
  const embedded = (definition: z.ZodType): JsonSchema => {
    // AsyncAPI's own schema dialect is a superset of draft 7.
    const { $schema: _, ...schema } = publishedSchema(definition, 'draft-7');
    return schema;
  };
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Weir',
      version: '1.0.0',
      description: 'Fraud decisions on transactions, one risk event each. docs/contract.md says what may be relied on.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/json',
    channels: {
      riskEvents: channel('risk.scored', 'sink.kafka.topic', ['riskEvent'], 'One risk event per scored transaction'),
      deadLetters: channel(
        'risk.dead-letters',
        'sink.kafka.dead_letters',
        ['deadLetter', 'replayMark'],
        'Input records that could not be scored',
      ),
    },
    operations: {
      publishRiskEvents: send('riskEvents', 'riskEvent', 'Weir publishes what it scored'),
      publishDeadLetters: send('deadLetters', 'deadLetter', 'Weir publishes what it could not score'),
      publishReplayMarks: send('deadLetters', 'replayMark', 'weir dlq replay says what it has put back'),
    },
    components: {
      messages: {
        riskEvent: {
          name: eventType,
          title: 'Risk event',
          summary: 'CloudEvents 1.0 in binary mode: attributes are headers, the value is the data',
          contentType: 'application/json',
          headers: embedded(riskHeaders),
          payload: embedded(riskEvent),
          bindings: key('Key of the input record; where that is a tokenised entity, its token'),
        },
        deadLetter: {
          name: 'weir.dead-letter',
          title: 'Dead letter',
          summary: deadLetters.description,
          contentType: 'application/octet-stream',
          headers: embedded(deadLetters.headers),
          payload: { description: 'The original bytes, whatever they are' },
          bindings: key('Key of the input record, as it was'),
        },
        replayMark: {
          name: 'weir.replay-mark',
          title: 'Replay mark',
          summary: deadLetters.marks.description,
          headers: embedded(deadLetters.marks.headers),
          payload: { type: 'null', description: 'None' },
        },
      },
    },
  };
}

function channel(address: string, setting: string, messages: readonly string[], title: string): JsonSchema {
  return {
    address,
    title,
    description: `The topic named by ${setting}`,
    messages: Object.fromEntries(messages.map((message) => [message, { $ref: `#/components/messages/${message}` }])),
  };
}

function send(channelName: string, message: string, summary: string): JsonSchema {
  return {
    action: 'send',
    summary,
    channel: { $ref: `#/channels/${channelName}` },
    messages: [{ $ref: `#/channels/${channelName}/messages/${message}` }],
  };
}

function key(description: string): JsonSchema {
  return { kafka: { key: { type: 'string', description }, bindingVersion: '0.5.0' } };
}
