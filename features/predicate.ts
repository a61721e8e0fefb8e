import { compileCondition, type ExpressionName } from '../runtime/expression.ts';
import type { EventLayout, FieldLayout, TransactionBatch } from './columns.ts';

/** A boolean of an event, computed for a whole batch at once. */
export interface Predicate {
  /** Canonical text: equal text, equal meaning. */
  readonly text: string;
  /** Writes 1 or 0 for each of the batch's rows. */
  fill(batch: TransactionBatch, out: Uint8Array): void;
}

/** A flag field that is set. */
export function flagPredicate(layout: EventLayout, field: number): Predicate {
  return {
    text: layout.fields[field].name,
    fill(batch, out) {
      const column = batch.numbers[field];
      for (let i = 0; i < batch.count; i++) out[i] = column[i] === 1 ? 1 : 0;
    },
  };
}

/** An optional number field that has a value. */
export function presentPredicate(layout: EventLayout, field: number): Predicate {
  return {
    text: `present(${layout.fields[field].name})`,
    fill(batch, out) {
      const column = batch.numbers[field];
      for (let i = 0; i < batch.count; i++) out[i] = Number.isNaN(column[i]) ? 0 : 1;
    },
  };
}

/** An event that is about no earlier one. */
export const transactionPredicate: Predicate = {
  text: 'transactions',
  fill(batch, out) {
    for (let i = 0; i < batch.count; i++) out[i] = batch.refersTo[i] === '' ? 1 : 0;
  },
};

/** An event that later ones of the kind refer to: true of none when it comes. */
export function labelPredicate(population: Predicate, kind: string): Predicate {
  return {
    text: `${population.text} labelled ${kind}`,
    fill(batch, out) {
      out.fill(0, 0, batch.count);
    },
  };
}

export function bothPredicate(left: Predicate, right: Predicate): Predicate {
  let scratch = new Uint8Array(0);
  return {
    text: `${left.text} and ${right.text}`,
    fill(batch, out) {
      if (scratch.length < batch.count) scratch = new Uint8Array(batch.count * 2);
      left.fill(batch, out);
      right.fill(batch, scratch);
      for (let i = 0; i < batch.count; i++) out[i] &= scratch[i];
    },
  };
}

/** The names that filter expressions may use: the event's fields and `kind`. */
function namesOf({ fields }: EventLayout): ExpressionName[] {
  return [...fields.map((field) => fieldName(field)), { name: 'kind', type: 'text' }];
}

/** A field as expressions see it: money is a number, in major units. */
export function fieldName({ name, type }: FieldLayout): ExpressionName {
  return { name, type: type === 'money' ? 'number' : type };
}

/**
 * A filter expression over event fields (numbers in major units, flags, texts) and `kind`. What is unknown for the lack of a value
 * does not pass.
 * @throws WeirError CONFIG when the expression is not valid.
 */
export function filterPredicate(layout: EventLayout, source: string): Predicate {
  const condition = compileCondition(source, namesOf(layout));
  const divisors = layout.fields.map((field) => 10 ** field.scale);
  let batch: TransactionBatch;
  let row = 0;
  const read = (index: number): number | string => {
    if (index === layout.fields.length) return batch.kinds[row];
    return layout.fields[index].type === 'text' ? batch.texts[index][row] : batch.numbers[index][row] / divisors[index];
  };
  // What a text is made by decides which events pass.
  const made = layout.fields.filter((field, index) => field.made !== undefined && condition.uses.includes(index));
  const words = made.map((field) => `${field.name} by ${field.made}`).join(' and ');
  return {
    text: words === '' ? `(${source.trim()})` : `(${source.trim()}) of ${words}`,
    fill(of, out) {
      batch = of;
      for (row = 0; row < of.count; row++) out[row] = condition.holds(read) ? 1 : 0;
    },
  };
}
