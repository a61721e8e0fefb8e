import { WeirError } from './errors.ts';
import { type Comparison, type Node, parseExpression } from './expression-syntax.ts';

/** What a name's value is: a number, NaN where it is missing; a text, '' where missing; or a flag, which is the number 1 or 0. */
export type ValueType = 'number' | 'text' | 'flag';

export interface ExpressionName {
  readonly name: string;
  readonly type: ValueType;
}

/** Gives the value of a name by its index. */
export type ReadValue = (index: number) => number | string;

/** A compiled expression. */
export interface Expression {
  /** Indexes of the names that it reads. */
  readonly uses: readonly number[];
  /** What it gives: a condition is a flag. */
  readonly type: ValueType;
  /** The value, as of a name: NaN or '' where it is missing, NaN for a condition that is unknown. */
  evaluate(read: ReadValue): number | string;
}

/**
 * Compiles an expression over the given names: `card.count.1h > 20 and outcome == "approved"`. Texts stand in double quotes. A name
 * may hold dots and hyphens (`terminal.ratio.fraud.7d.delay-7d`); where `a-b` is no name but a and b are, it is a subtraction.
 *
 * A comparison with a missing value is unknown, as in SQL: so is `not` of it; `and` is false when one side is false, `or` true when
 * one side is true, else both are unknown when one side is. `exists(name)` asks whether a value is there.
 * @throws WeirError CONFIG for an unknown name, a syntax error, or types that do not fit: such an expression could never be true.
 */
export function compileExpression(source: string, names: readonly ExpressionName[]): Expression {
  const root = parseExpression(
    source,
    names.map(({ name }) => name),
  );
  const uses = new Set<number>();
  const typed = compile(root, names, uses);
  const type = typed.type === 'condition' ? 'flag' : typed.type;
  return { uses: [...uses], type, evaluate: typed.evaluate };
}

/** As `compileExpression`, of something that is true or not; a flag alone is such a condition. */
export function compileCondition(
  source: string,
  names: readonly ExpressionName[],
): Pick<Expression, 'uses'> & { holds(read: ReadValue): boolean } {
  const { uses, type, evaluate } = compileExpression(source, names);
  if (type !== 'flag') throw noCondition(source.trim(), type);
  return { uses, holds: (read) => evaluate(read) === 1 };
}

type NumberOf = (read: ReadValue) => number;
type TextOf = (read: ReadValue) => string;

/** Conditions are 1, 0, or NaN for unknown; they are compared with other conditions and flags, but not calculated with. */
type Typed =
  | { readonly type: 'number' | 'flag'; readonly evaluate: NumberOf }
  | { readonly type: 'condition'; readonly evaluate: NumberOf }
  | { readonly type: 'text'; readonly evaluate: TextOf };

type Condition = Extract<Typed, { type: 'condition' }>;

interface Operand {
  readonly node: Node;
  readonly typed: Typed;
}

function compile(node: Node, names: readonly ExpressionName[], uses: Set<number>): Typed {
  const typed = (of: Node) => compile(of, names, uses);
  const operand = (of: Node): Operand => ({ node: of, typed: typed(of) });
  const number = (of: Node) => numberOf(of, typed(of));
  const condition = (of: Node) => conditionOf(of, typed(of));
  switch (node.type) {
    case 'number':
    case 'text': {
      const { type, value } = node;
      return { type, evaluate: () => value } as Typed;
    }
    case 'constant': {
      const value = node.value ? 1 : 0;
      return { type: 'condition', evaluate: () => value };
    }
    case 'name': {
      const { index } = node;
      uses.add(index);
      return { type: names[index].type, evaluate: (read: ReadValue) => read(index) } as Typed;
    }
    case 'not': {
      const of = condition(node.of);
      return { type: 'condition', evaluate: (read) => 1 - of(read) };
    }
    case 'and':
      return { type: 'condition', evaluate: both(condition(node.left), condition(node.right)) };
    case 'or':
      return { type: 'condition', evaluate: either(condition(node.left), condition(node.right)) };
    case 'minus': {
      const of = number(node.of);
      return { type: 'number', evaluate: (read) => -of(read) };
    }
    case 'arithmetic':
      return { type: 'number', evaluate: calculation(node.operator, number(node.left), number(node.right)) };
    case 'comparison':
      return compared(node.operator, node.text, operand(node.left), operand(node.right));
    case 'in':
      return contained(node, operand);
    case 'call':
      return called(node, typed);
  }
}

function both(left: NumberOf, right: NumberOf): NumberOf {
  return (read) => {
    const first = left(read);
    if (first === 0) return 0;
    const second = right(read);
    // 1 and 1 is 1, and whatever is multiplied by NaN is NaN.
    return second === 0 ? 0 : first * second;
  };
}

function either(left: NumberOf, right: NumberOf): NumberOf {
  return (read) => {
    const first = left(read);
    if (first === 1) return 1;
    const second = right(read);
    return second === 1 ? 1 : first + second;
  };
}

function calculation(operator: string, left: NumberOf, right: NumberOf): NumberOf {
  switch (operator) {
    case '+':
      return (read) => left(read) + right(read);
    case '-':
      return (read) => left(read) - right(read);
    case '*':
      return (read) => left(read) * right(read);
    case '/':
      return (read) => left(read) / right(read);
    case '^':
      return (read) => left(read) ** right(read);
    default:
      return (read) => {
        const by = right(read);
        // The sign of the divisor, as in mathematics.
        return ((left(read) % by) + by) % by;
      };
  }
}

/** 1, 0, or NaN where a side is missing. */
function compared(operator: Comparison, text: string, left: Operand, right: Operand): Condition {
  const [first, second] = [left.typed, right.typed];
  if (first.type === 'text' && second.type === 'text') {
    if (operator !== '==' && operator !== '!=') {
      throw misfit(text, 'texts have no order here, compare them by == or !=');
    }
    refuseEmpty(text, left.node, right.node);
    return { type: 'condition', evaluate: sameText(first.evaluate, second.evaluate, operator === '!=') };
  }
  if (first.type === 'text' || second.type === 'text' || !isComparable(first.type, second.type, operator)) {
    throw misfit(text, `${described(left)}, and ${described(right)}`);
  }
  return { type: 'condition', evaluate: comparison(operator, first.evaluate, second.evaluate) };
}

/** Conditions are only the same as other conditions and flags, or not. */
function isComparable(left: Typed['type'], right: Typed['type'], operator: Comparison): boolean {
  if (left !== 'condition' && right !== 'condition') return true;
  return left !== 'number' && right !== 'number' && (operator === '==' || operator === '!=');
}

function sameText(left: TextOf, right: TextOf, isNegated: boolean): NumberOf {
  return (read) => {
    const [first, second] = [left(read), right(read)];
    if (first === '' || second === '') return Number.NaN;
    return (first === second) !== isNegated ? 1 : 0;
  };
}

function comparison(operator: Comparison, left: NumberOf, right: NumberOf): NumberOf {
  const holds = comparisons[operator];
  return (read) => {
    const [first, second] = [left(read), right(read)];
    if (Number.isNaN(first) || Number.isNaN(second)) return Number.NaN;
    return holds(first, second) ? 1 : 0;
  };
}

const comparisons: Readonly<Record<Comparison, (left: number, right: number) => boolean>> = {
  '==': (left, right) => left === right,
  '!=': (left, right) => left !== right,
  '<': (left, right) => left < right,
  '<=': (left, right) => left <= right,
  '>': (left, right) => left > right,
  '>=': (left, right) => left >= right,
};

/** `x in (a, b)` is `x == a or x == b`; `x not in (a, b)` is its negation. */
function contained(node: Extract<Node, { type: 'in' }>, operand: (of: Node) => Operand): Typed {
  const of = operand(node.of);
  const found = node.list.map((item) => compared('==', node.text, of, operand(item)).evaluate).reduce(either);
  return { type: 'condition', evaluate: node.isNegated ? (read) => 1 - found(read) : found };
}

function called({ name, of, text }: Extract<Node, { type: 'call' }>, typed: (of: Node) => Typed): Typed {
  const isList = name === 'max' || name === 'min';
  if (!isList && of.length !== 1) throw misfit(text, `${name} takes one value`);
  if (name === 'exists') return presence(typed(of[0]));
  const values = of.map((value) => numberOf(value, typed(value)));
  const [first] = values;
  if (isList) {
    const pick = Math[name];
    return { type: 'number', evaluate: (read) => values.reduce((best, value) => pick(best, value(read)), first(read)) };
  }
  const apply = Math[name];
  return { type: 'number', evaluate: (read) => apply(first(read)) };
}

function presence(of: Typed): Typed {
  if (of.type === 'text') return { type: 'condition', evaluate: (read) => (of.evaluate(read) === '' ? 0 : 1) };
  return { type: 'condition', evaluate: (read) => (Number.isNaN(of.evaluate(read)) ? 0 : 1) };
}

function numberOf(node: Node, typed: Typed): NumberOf {
  if (typed.type === 'text' || typed.type === 'condition') {
    throw misfit(node.text, `a number is needed here, but ${described({ node, typed })}`);
  }
  return typed.evaluate;
}

function conditionOf(node: Node, typed: Typed): NumberOf {
  if (typed.type === 'text' || typed.type === 'number') throw noCondition(node.text, typed.type);
  return typed.evaluate;
}

function refuseEmpty(text: string, ...sides: readonly Node[]): void {
  if (!sides.some((side) => side.type === 'text' && side.value === '')) return;
  throw misfit(text, 'an empty text is no value, so nothing equals it: ask by exists(name) or not exists(name)');
}

const kinds: Readonly<Record<Typed['type'], string>> = {
  number: 'is a number',
  text: 'is a text',
  flag: 'is a flag',
  condition: 'is a condition',
};

function described({ node, typed }: Operand): string {
  return `${node.text} ${kinds[typed.type]}`;
}

function misfit(text: string, why: string): WeirError {
  return new WeirError('CONFIG', `${text} does not fit: ${why}`);
}

function noCondition(text: string, type: 'number' | 'text'): WeirError {
  const example = type === 'number' ? `${text} > 0` : `${text} == "…"`;
  return new WeirError('CONFIG', `${text} is a ${type}, not a condition; write a comparison, such as \`${example}\``);
}
