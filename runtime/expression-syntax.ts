import { closest } from './closest.ts';
import { WeirError } from './errors.ts';

/** A piece of an expression; `text` is how it is written. */
export type Node = { readonly text: string } & (
  | { readonly type: 'number'; readonly value: number }
  | { readonly type: 'text'; readonly value: string }
  | { readonly type: 'constant'; readonly value: boolean }
  | { readonly type: 'name'; readonly index: number }
  | { readonly type: 'call'; readonly name: FunctionName; readonly of: readonly Node[] }
  | { readonly type: 'not' | 'minus'; readonly of: Node }
  | { readonly type: 'and' | 'or'; readonly left: Node; readonly right: Node }
  | { readonly type: 'arithmetic'; readonly operator: Arithmetic; readonly left: Node; readonly right: Node }
  | { readonly type: 'comparison'; readonly operator: Comparison; readonly left: Node; readonly right: Node }
  | { readonly type: 'in'; readonly isNegated: boolean; readonly of: Node; readonly list: readonly Node[] }
);

export type Arithmetic = '+' | '-' | '*' | '/' | '^' | 'mod';
export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=';

export const functionNames = [
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
] as const;
export type FunctionName = (typeof functionNames)[number];

const words = new Set(['and', 'or', 'not', 'in', 'mod', 'true', 'false']);
const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=']);

interface Token {
  readonly type: 'number' | 'text' | 'name' | 'word' | 'function' | 'sign' | 'end';
  readonly text: string;
  readonly start: number;
}

/**
 * Reads an expression. From what binds least to what binds most: `or`, `and`, `not`, comparisons and `in`, `+ -`, `* / mod`, a minus
 * in front, `^`. Comparisons chain: `0 < a < 5` is `0 < a and a < 5`.
 * @throws WeirError CONFIG for an unknown name or a syntax error, with its column.
 */
export function parseExpression(source: string, names: readonly string[]): Node {
  const indexes = new Map(names.map((name, index) => [name, index]));
  const tokens = tokensOf(source, indexes);
  let at = 0;

  const peek = () => tokens[at].text;
  const accept = (text: string) => {
    if (peek() !== text) return false;
    at++;
    return true;
  };
  const textFrom = (start: number) => source.slice(tokens[start].start, endOf(tokens[at - 1])).trim();

  function fail(wanted: string): never {
    const { type, text, start } = tokens[at];
    const got = type === 'end' ? 'it ends' : `there is ${text}`;
    throw unreadable(source, start, `${wanted} is expected, but ${got}`);
  }

  function expectSign(text: string): void {
    if (!accept(text)) fail(text);
  }

  function either(): Node {
    const start = at;
    let left = both();
    while (accept('or')) left = { type: 'or', left, right: both(), text: textFrom(start) };
    return left;
  }

  function both(): Node {
    const start = at;
    let left = negation();
    while (accept('and')) left = { type: 'and', left, right: negation(), text: textFrom(start) };
    return left;
  }

  function negation(): Node {
    const start = at;
    if (accept('not')) return { type: 'not', of: negation(), text: textFrom(start) };
    return relation();
  }

  function relation(): Node {
    const start = at;
    let left = sum();
    const isNegated = peek() === 'not' && tokens[at + 1].text === 'in';
    if (isNegated) at++;
    if (accept('in')) return { type: 'in', isNegated, of: left, list: list(), text: textFrom(start) };
    let chain: Node | undefined;
    while (comparisons.has(peek())) {
      const operator = tokens[at++].text as Comparison;
      const right = sum();
      const link: Node = { type: 'comparison', operator, left, right, text: `${left.text} ${operator} ${right.text}` };
      chain = chain === undefined ? link : { type: 'and', left: chain, right: link, text: textFrom(start) };
      left = right;
    }
    return chain ?? left;
  }

  function sum(): Node {
    return arithmetic(product, ['+', '-']);
  }

  function product(): Node {
    return arithmetic(signed, ['*', '/', 'mod']);
  }

  function arithmetic(operand: () => Node, operators: readonly Arithmetic[]): Node {
    const start = at;
    let left = operand();
    for (;;) {
      const operator = operators.find((candidate) => accept(candidate));
      if (operator === undefined) return left;
      left = { type: 'arithmetic', operator, left, right: operand(), text: textFrom(start) };
    }
  }

  function signed(): Node {
    const start = at;
    if (accept('-')) return { type: 'minus', of: signed(), text: textFrom(start) };
    const left = primary();
    if (!accept('^')) return left;
    return { type: 'arithmetic', operator: '^', left, right: signed(), text: textFrom(start) };
  }

  function primary(): Node {
    const start = at;
    const { type, text } = tokens[at];
    if (accept('(')) {
      const node = either();
      expectSign(')');
      return { ...node, text: textFrom(start) };
    }
    at++;
    if (type === 'number') return { type, value: Number(text), text };
    if (type === 'text') return { type, value: text.slice(1, -1).replaceAll(/\\(.)/gs, '$1'), text };
    if (type === 'name') return { type, index: indexes.get(text)!, text };
    if (text === 'true' || text === 'false') return { type: 'constant', value: text === 'true', text };
    if (type === 'function') return { type: 'call', name: text as FunctionName, of: list(), text: textFrom(start) };
    at--;
    return fail('a value');
  }

  function list(): Node[] {
    expectSign('(');
    const items = [either()];
    while (accept(',')) items.push(either());
    expectSign(')');
    return items;
  }

  const node = either();
  if (tokens[at].type !== 'end') fail('`and`, `or` or a comparison');
  return node;
}

const signPattern = /==|!=|<=|>=|[<>+\-*/^(),]/y;
const numberPattern = /(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?(?![\w.])/iy;
const textPattern = /"(?:[^"\\]|\\.)*"/sy;
const namePattern = /[A-Za-z_][\w.-]*/y;

function tokensOf(source: string, names: ReadonlyMap<string, number>): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; ; ) {
    while (/\s/.test(source.charAt(at))) at++;
    if (at === source.length) return [...tokens, { type: 'end', text: '', start: at }];
    const token = tokenAt(source, at, names);
    tokens.push(token);
    at = endOf(token);
  }
}

function tokenAt(source: string, start: number, names: ReadonlyMap<string, number>): Token {
  const match = (pattern: RegExp) => {
    pattern.lastIndex = start;
    return pattern.exec(source)?.[0];
  };
  const name = match(namePattern);
  if (name !== undefined) return nameToken(name, source, start, names);
  const number = match(numberPattern);
  if (number !== undefined) return { type: 'number', text: number, start };
  const text = match(textPattern);
  if (text !== undefined) return { type: 'text', text, start };
  const sign = match(signPattern);
  if (sign !== undefined) return { type: 'sign', text: sign, start };
  const character = source[start];
  const advice = /['"]/.test(character) ? 'a text stands in double quotes, "like this"' : `${character} has no meaning`;
  throw unreadable(source, start, advice);
}

/** The longest known name that the text begins with; what follows it behind a hyphen is subtracted. */
function nameToken(found: string, source: string, start: number, names: ReadonlyMap<string, number>): Token {
  for (let text = found; text !== ''; text = text.slice(0, Math.max(0, text.lastIndexOf('-')))) {
    if (names.has(text)) return { type: 'name', text, start };
    if (words.has(text)) return { type: 'word', text, start };
    const isCalled = /^\s*\(/.test(source.slice(start + text.length));
    if (isCalled && (functionNames as readonly string[]).includes(text)) return { type: 'function', text, start };
  }
  const known = closest(found, [...names.keys()]);
  throw new WeirError('CONFIG', `unknown name ${found} at column ${start + 1} of ${source.trim()}${known}`);
}

function endOf({ start, text }: Token): number {
  return start + text.length;
}

function unreadable(source: string, at: number, why: string): WeirError {
  return new WeirError('CONFIG', `the expression ${source.trim()} cannot be read at column ${at + 1}: ${why}`);
}
