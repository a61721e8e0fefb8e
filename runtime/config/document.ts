import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import {
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parse,
  parseDocument,
  Scalar,
  visit,
} from 'yaml';
import { describeError, WeirError } from '../errors.ts';

export type ConfigPath = readonly (string | number)[];

/** What is wrong in a config, and where. */
export interface ConfigFault {
  readonly path: ConfigPath;
  readonly message: string;
}

/** A fault as a person finds it: with the line in the file, where it has one. */
export interface LocatedFault extends ConfigFault {
  readonly line: number | undefined;
}

/** A config file with `${NAME}`s filled in and overrides applied, which remembers where everything stands. */
export interface ConfigDocument {
  readonly file: string;
  /** Plain values. */
  readonly value: unknown;
  /**
   * The text at a path that came from the environment or an override, where what type it is meant to have is open (`5` may be a
   * number or a name); undefined for what the file itself says.
   */
  textOf(path: ConfigPath): string | undefined;
  /** The folder that a relative file path at this place starts from: the file's own, or where the command runs. */
  folderOf(path: ConfigPath): string;
  locate(fault: ConfigFault): LocatedFault;
}

export interface ConfigInputs {
  /** `key.path=value`; an empty or null value removes the key. */
  readonly overrides: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where the command runs. */
  readonly folder: string;
}

/**
 * Reads a YAML config.
 * @throws WeirError CONFIG when it cannot be read, is no YAML, names a variable that is not set, or an override is malformed.
 */
export function readConfigDocument(file: string, inputs: ConfigInputs): ConfigDocument {
  const text = readText(file);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  if (document.errors.length > 0) {
    // The first one: the others mostly follow from it.
    const { pos, message } = document.errors[0];
    const { line } = lines.linePos(pos[0]);
    // Not in a block: there `${NAME}` is plain text.
    const hint = /[{[,].*(?<!["'].*)\$\{/.test(text.split('\n')[line - 1])
      ? '; within { } and [ ] a variable stands in quotes: "${NAME}"'
      : '';
    throw new WeirError('CONFIG', `${file}:${line}: no valid YAML: ${message.split(' at line')[0]}${hint}`);
  }
  if (!isMap(document.contents)) throw new WeirError('CONFIG', `${file}: expected keys such as job, source and sink`);
  /** Raw texts from outside the file by JSON path. */
  const texts = new Map<string, string>();

  visit(document, {
    Scalar(_key, node, ancestors) {
      if (typeof node.value !== 'string' || !node.value.includes('${')) return;
      const { filled, isOutside } = fill(node.value, inputs.env, (name) => {
        const line = node.range ? lines.linePos(node.range[0]).line : 0;
        return new WeirError('CONFIG', `${file}:${line}: the environment variable ${name} is not set`);
      });
      node.value = filled;
      if (isOutside) texts.set(JSON.stringify(pathOf(ancestors, node)), filled);
      else if (node.type === Scalar.PLAIN) node.value = scalar(filled);
    },
  });
  for (const override of inputs.overrides) {
    const { path, text: value } = parseOverride(override);
    const parsed = parsedOverride(value, override);
    if (parsed === null) document.deleteIn(path);
    else {
      makeWay(document, path, override);
      document.setIn(path, typeof parsed === 'object' ? document.createNode(parsed) : parsed);
      texts.set(JSON.stringify(path), value);
    }
  }

  const isOutside = (path: ConfigPath) => {
    for (let length = path.length; length > 0; length--)
      if (texts.has(JSON.stringify(path.slice(0, length)))) return true;
    return false;
  };
  return {
    file,
    value: document.toJS(),
    textOf: (path) => texts.get(JSON.stringify(path)),
    folderOf: (path) => (isOutside(path) ? inputs.folder : dirname(resolve(file))),
    locate: (fault) => ({ ...fault, line: lineOf(document.contents, fault.path, lines) }),
  };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new WeirError('CONFIG', `the config file ${file} cannot be read: ${describeError(error)}`, { cause: error });
  }
}

/** `${NAME}`, `${NAME:-default}`; `$${` stands for a literal `${`. */
function fill(text: string, env: ConfigInputs['env'], missing: (name: string) => WeirError) {
  let isOutside = false;
  const filled = text.replace(
    /\$(\$\{)|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}/g,
    (_match, escaped: string | undefined, name: string, fallback: string | undefined) => {
      if (escaped !== undefined) return escaped;
      const value = env[name];
      if (value !== undefined && value !== '') {
        isOutside = true;
        return value;
      }
      if (fallback === undefined) throw missing(name);
      return fallback;
    },
  );
  return { filled, isOutside };
}

/** The value that a plain YAML scalar of this text has. */
function scalar(text: string): unknown {
  const value: unknown = parse(text);
  return typeof value === 'object' ? text : value;
}

function pathOf(ancestors: readonly unknown[], node: unknown): (string | number)[] {
  const path: (string | number)[] = [];
  for (const [index, ancestor] of ancestors.entries()) {
    const child = ancestors[index + 1] ?? node;
    if (isPair(ancestor)) path.push(isScalar(ancestor.key) ? String(ancestor.key.value) : String(ancestor.key));
    else if (isCollection(ancestor) && !isMap(ancestor)) path.push(ancestor.items.indexOf(child as never));
  }
  return path;
}

function parseOverride(override: string): { path: (string | number)[]; text: string } {
  const at = override.indexOf('=');
  const key = override.slice(0, Math.max(0, at)).trim();
  if (at < 1 || !/^[\w-]+(\.[\w-]+)*$/.test(key)) {
    throw new WeirError('CONFIG', `--set wants key.path=value, such as source.kafka.topic=payments, not ${override}`);
  }
  const path = key.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return { path, text: override.slice(at + 1) };
}

function parsedOverride(text: string, override: string): unknown {
  try {
    return parse(text) as unknown;
  } catch (error) {
    // A plain text that happens to look like broken YAML (an expression, a path) is just text, unless it opens a list or map.
    if (!/^\s*[[{]/.test(text)) return text;
    throw new WeirError('CONFIG', `--set ${override}: ${describeError(error).split(' at line')[0]}`);
  }
}

/** Removes a scalar that stands where the path needs a map or list. A list takes a place that it has, or the next one. */
function makeWay(document: ReturnType<typeof parseDocument>, path: ConfigPath, override: string): void {
  for (let length = 1; length < path.length; length++) {
    const node = document.getIn(path.slice(0, length), true);
    if (node !== undefined && !isCollection(node)) document.deleteIn(path.slice(0, length));
    if (!isSeq(node) || Number(path[length]) <= node.items.length) continue;
    const list = path.slice(0, length).join('.');
    const count = node.items.length;
    const has = count === 0 ? 'it is empty' : `it has ${list}.0 to ${list}.${count - 1}`;
    throw new WeirError(
      'CONFIG',
      `--set ${override}: no entry ${list}.${path[length]}: ${has}, ${list}.${count} adds one`,
    );
  }
}

/** The line of the key at the path, or of the nearest thing around it that is in the file. */
function lineOf(contents: unknown, path: ConfigPath, lines: LineCounter): number | undefined {
  let node: unknown = contents;
  let start: number | undefined;
  for (const step of path) {
    let next: unknown;
    let at: number | undefined;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(step));
      next = pair?.value;
      at = isNode(pair?.key) ? pair.key.range?.[0] : undefined;
    } else if (isCollection(node)) {
      next = node.items[Number(step)];
      at = isNode(next) ? next.range?.[0] : undefined;
    }
    if (at === undefined) break;
    start = at;
    node = next;
  }
  return start === undefined ? undefined : lines.linePos(start).line;
}

/** `file:line: key.path: message` */
export function describeFault(file: string, { line, path, message }: LocatedFault): string {
  const key = path.map((step, index) => (typeof step === 'number' ? `[${step}]` : index === 0 ? step : `.${step}`));
  return `${file}${line === undefined ? '' : `:${line}`}: ${path.length === 0 ? '' : `${key.join('')}: `}${message}`;
}
