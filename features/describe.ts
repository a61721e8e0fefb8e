import type { Aggregate } from './aggregates/aggregate.ts';
import type { FeatureGroupConfig } from './config.ts';

/** Where a feature comes from in the config, after its faults are found. */
export type FeatureSource =
  | { readonly from: 'event'; readonly what: string }
  | { readonly from: 'expression'; readonly expression: string }
  | {
      readonly from: 'entity';
      readonly group: FeatureGroupConfig;
      readonly aggregate: Aggregate;
      readonly arguments: readonly string[];
      /** A duration as written, or all. */
      readonly width: string;
    };

/** A feature for people. */
export interface FeatureDescription {
  /** A sentence without its full stop. */
  readonly meaning: string;
  /** Width of the window and how far it ends before the event, as in the config; undefined where there is none. */
  readonly window: string | undefined;
  readonly delay: string | undefined;
  /** What an evaluation costs. */
  readonly cost: string;
}

export function describeFeature(source: FeatureSource): FeatureDescription {
  if (source.from !== 'entity') {
    const meaning = source.from === 'event' ? eventMeaning(source.what) : source.expression;
    return { meaning, window: undefined, delay: undefined, cost: 'constant' };
  }
  const { aggregate, group, arguments: args, width } = source;
  const meaning = aggregate.meaning(
    eventsInWords(source),
    ...args.map((text, k) => (aggregate.arguments[k] === 'window' ? `a window of ${text}` : `\`${text}\``)),
  );
  return {
    meaning:
      group.labels === 'at-transaction' ? `${meaning}; labels count for the transactions that they are about` : meaning,
    window: width,
    delay: group.delay,
    cost: aggregate.cost,
  };
}

function eventMeaning(what: string): string {
  if (what === 'is-weekend') return '1 when the event is on a Saturday or Sunday (UTC), else 0';
  if (what === 'is-night') return '1 when the event is from 00:00 to 06:59 (UTC), else 0';
  return `the event's own \`${what}\`, in major units`;
}

/** Such as "the card's `approved` events in the last 24h before the current one". */
function eventsInWords({ group, aggregate, width }: FeatureSource & { readonly from: 'entity' }): string {
  const events = `the ${group.entity}'s ${group.where === undefined ? '' : `\`${group.where}\` `}events`;
  if (group.delay !== undefined) {
    return `${events} ${width === 'all' ? `until ${group.delay} ago` : `in the ${width} that ended ${group.delay} ago`}`;
  }
  const within = width === 'all' ? events : `${events} in the last ${width}`;
  return group.current === 'exclude' || aggregate.excludesCurrent === true
    ? `${within} before the current one`
    : within;
}
