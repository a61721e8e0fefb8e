import { closest } from '../../runtime/closest.ts';
import type { EventLayout } from '../columns.ts';
import { parseDuration } from '../duration.ts';
import type { Aggregate, ArgumentType } from './aggregate.ts';
import { catalogue } from './catalogue.ts';

/** An aggregate as a config calls it. */
export interface ParsedAggregate {
  readonly aggregate: Aggregate;
  readonly arguments: readonly { readonly type: ArgumentType; readonly text: string }[];
  readonly texts: readonly string[];
  /** Field of each argument; -1 where it is none. */
  readonly fields: readonly number[];
  /** Milliseconds of each argument that is a window; 0 where it is none. */
  readonly windows: readonly number[];
}

/** `name`, `name(argument)` or `name(argument, argument)`; undefined once a fault is reported. */
export function parseAggregate(
  text: string,
  layout: EventLayout,
  fault: (message: string) => void,
): ParsedAggregate | undefined {
  const match = /^([a-z-]+)(?:\(\s*([^()]*?)\s*\))?$/.exec(text);
  const aggregate = catalogue.find(({ name }) => name === match?.[1]);
  if (!match || !aggregate) {
    const known = catalogue.map(({ name }) => name);
    fault(`there is no aggregate ${text}${closest(match?.[1] ?? text, known)}`);
    return undefined;
  }
  const texts = match[2] === undefined || match[2] === '' ? [] : match[2].split(',').map((part) => part.trim());
  const most = aggregate.arguments.length;
  const least = most - (aggregate.optionalArguments ?? 0);
  if (texts.length < least || texts.length > most) {
    fault(
      most === 0
        ? `${aggregate.name} takes no argument`
        : `${aggregate.name} needs ${most === 1 ? 'an argument' : `${least === most ? most : `${least} or ${most}`} arguments`}, such as ${aggregate.example}`,
    );
    return undefined;
  }
  let isSound = true;
  const wrong = (message: string) => {
    isSound = false;
    fault(message);
  };
  const args = texts.map((argument, k) => ({ type: aggregate.arguments[k], text: argument }));
  const fields = args.map(({ type, text: name }) => fieldOf(type, name, layout, wrong));
  const windows = args.map(({ type, text: duration }) => {
    if (type !== 'window') return 0;
    const milliseconds = parseDuration(duration);
    if (milliseconds === undefined) wrong(`${duration} is no duration such as 24h or 30d`);
    return milliseconds ?? 0;
  });
  return isSound ? { aggregate, arguments: args, texts, fields, windows } : undefined;
}

function fieldOf(type: ArgumentType, name: string, layout: EventLayout, fault: (message: string) => void): number {
  if (type === 'filter' || type === 'window') return -1;
  const fits = layout.fields
    .filter((field) => type === 'value' || (field.type === 'text') === (type === 'text'))
    .map((field) => field.name);
  const index = layout.fields.findIndex((field) => field.name === name);
  if (fits.includes(name)) return index;
  fault(
    index < 0
      ? `there is no field ${name}${closest(name, fits)}`
      : `the field ${name} is ${type === 'text' ? 'not ' : ''}text`,
  );
  return -1;
}
