import { compileExpression as compileFiltrex } from 'filtrex';
import { closest } from './closest.ts';
import { WeirError } from './errors.ts';

/** A compiled expression: numbers and texts in, a boolean, number or text out. */
export interface Expression {
  /** Indexes of the names that it reads. */
  readonly uses: readonly number[];
  /**
   * @param read gives the value of a name by its index.
   * @returns the value; false where types do not fit (a text compared by size) or a number is missing (NaN).
   */
  evaluate(read: (index: number) => number | string): boolean | number | string;
}

/** filtrex's own words and functions. */
const words = new Set(['and', 'or', 'not', 'in', 'of', 'if', 'then', 'else', 'mod', 'true', 'false']);
const functions = new Set([
  'abs',
  'ceil',
  'floor',
  'log',
  'log2',
  'log10',
  'max',
  'min',
  'round',
  'sqrt',
  'exists',
  'empty',
]);

/**
 * Compiles an expression over the given names by filtrex: `card.count.1h > 20 and outcome == "approved"`. Texts stand in double quotes.
 * A name may hold dots and hyphens (`terminal.ratio.fraud.7d.delay-7d`); where `a-b` is no name but a and b are, it is a subtraction.
 * @throws WeirError CONFIG for an unknown name or a syntax error.
 */
export function compileExpression(source: string, names: readonly string[]): Expression {
  const indexes = new Map(names.map((name, index) => [name, index]));
  const uses = new Set<number>();
  const quoted = quoteNames(source, indexes, uses);
  const slots = names.map((_, index) => `n${index}`);
  const bySlot = new Map(slots.map((slot, index) => [slot, index]));
  let compiled: (data: unknown) => unknown;
  try {
    compiled = compileFiltrex(quoted, {
      customProp: (name, _get, read) => read(bySlot.get(name)),
      constants: { true: true, false: false },
    });
  } catch (error) {
    throw new WeirError('CONFIG', `the expression ${source.trim()} cannot be read: ${syntaxFault(error)}`, {
      cause: error,
    });
  }
  return {
    uses: [...uses],
    evaluate(read) {
      const value = compiled(read);
      return value instanceof Error || Number.isNaN(value) ? false : (value as boolean | number | string);
    },
  };
}

/** Replaces each known name by 'n<index>', which filtrex takes whole. */
function quoteNames(source: string, indexes: ReadonlyMap<string, number>, uses: Set<number>): string {
  return source.replaceAll(
    /"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'|[A-Za-z_][\w.-]*/g,
    (token, quotedName: string | undefined, at: number) => {
      if (token.startsWith('"')) return token;
      return nameToken(quotedName ?? token, quotedName !== undefined, source, at, indexes, uses);
    },
  );
}

function nameToken(
  token: string,
  isQuoted: boolean,
  source: string,
  at: number,
  indexes: ReadonlyMap<string, number>,
  uses: Set<number>,
): string {
  const index = indexes.get(token);
  if (index !== undefined) {
    uses.add(index);
    return `'n${index}'`;
  }
  if (!isQuoted && (words.has(token) || (functions.has(token) && /^\s*\(/.test(source.slice(at + token.length)))))
    return token;
  // The longest known name before a hyphen; what follows the hyphen is subtracted.
  for (let cut = token.lastIndexOf('-'); !isQuoted && cut > 0; cut = token.lastIndexOf('-', cut - 1)) {
    if (!indexes.has(token.slice(0, cut))) continue;
    const rest = token.slice(cut + 1);
    const right =
      rest === '' || /^[\d.]/.test(rest) ? rest : nameToken(rest, false, source, at + cut + 1, indexes, uses);
    return `${nameToken(token.slice(0, cut), false, source, at, indexes, uses)} - ${right}`;
  }
  throw new WeirError(
    'CONFIG',
    `unknown name ${token} at column ${at + 1} of ${source.trim()}${closest(token, [...indexes.keys()])}`,
  );
}

/** The one useful line of a jison syntax error. */
function syntaxFault(error: unknown): string {
  const lines = (error instanceof Error ? error.message : String(error)).split('\n');
  return (lines.find((line) => line.startsWith('Expecting')) ?? lines[0]).replace(
    /^Parse error.*$/,
    'it is not complete',
  );
}
