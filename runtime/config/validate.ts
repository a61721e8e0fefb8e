import { resolve } from 'node:path';
import { z } from 'zod';
import { closest } from '../closest.ts';
import type { ConfigDocument, ConfigFault, ConfigPath } from './document.ts';

export type Validated<T> =
  | { readonly config: T; readonly sound: T; readonly faults: readonly [] }
  | {
      readonly config: undefined;
      /** The top-level keys whose values have no fault, without their paths resolved. */
      readonly sound: Partial<T>;
      readonly faults: readonly ConfigFault[];
    };

type Issue = z.core.$ZodIssue;

/**
 * Checks a document against a schema and answers the one object that the program works with: defaults filled in, file paths
 * absolute. Every fault is answered, unknown keys among them.
 */
export function validateConfig<S extends z.ZodObject>(schema: S, document: ConfigDocument): Validated<z.output<S>> {
  const value = structuredClone(document.value);
  let result = schema.safeParse(value);
  if (!result.success && retype(value, result.error.issues, document)) result = schema.safeParse(value);
  if (!result.success) {
    const faults = result.error.issues.flatMap((issue) => describe(issue, value, schema));
    return { config: undefined, sound: soundSections(schema, value), faults };
  }
  resolvePaths(z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }), result.data, [], document);
  return { config: result.data, sound: result.data, faults: [] };
}

function soundSections<S extends z.ZodObject>(schema: S, value: unknown): Partial<z.output<S>> {
  const parsed = Object.entries(schema.shape).map(([key, section]) => {
    const result = (section as z.ZodType).safeParse(at(value, [key]));
    return [key, result.success ? result.data : undefined] as const;
  });
  return Object.fromEntries(parsed) as Partial<z.output<S>>;
}

/** Texts from outside the file may turn out to be meant as text after all. @returns whether anything changed. */
function retype(value: unknown, issues: readonly Issue[], document: ConfigDocument): boolean {
  let isChanged = false;
  for (const { path, ...issue } of issues.flatMap(innermost)) {
    const text = document.textOf(path as ConfigPath);
    if (text === undefined || issue.code !== 'invalid_type') continue;
    const typed = issue.expected === 'string' ? text : fromText(text, issue.expected);
    if (typed === undefined) continue;
    const parent = at(value, path.slice(0, -1)) as Record<PropertyKey, unknown>;
    parent[path[path.length - 1]] = typed;
    isChanged = true;
  }
  return isChanged;
}

function fromText(text: string, expected: string): number | boolean | undefined {
  if ((expected === 'number' || expected === 'int') && text.trim() !== '' && Number.isFinite(Number(text)))
    return Number(text);
  if (expected === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return undefined;
}

/** Of a union, the issues of the branch that comes nearest: the one with the deepest first fault, then the fewest. */
function innermost(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const branches = issue.errors.map((branch) =>
    branch.flatMap((inner) => innermost({ ...inner, path: [...issue.path, ...inner.path] } as Issue)),
  );
  const depth = (branch: Issue[]) => Math.max(...branch.map(({ path }) => path.length));
  const isWrongShape = (branch: Issue[]) =>
    branch.some(({ code, path }) => code === 'invalid_type' && path.length === issue.path.length);
  return branches.sort(
    (a, b) => Number(isWrongShape(a)) - Number(isWrongShape(b)) || depth(b) - depth(a) || a.length - b.length,
  )[0];
}

function describe(issue: Issue, value: unknown, schema: z.ZodType): ConfigFault[] {
  return innermost(issue).flatMap((inner) => {
    const path = inner.path as ConfigPath;
    if (inner.code === 'unrecognized_keys') {
      const known = knownKeys(schema, path);
      const beside = Object.keys(at(value, path) as object).filter((key) => !inner.keys.includes(key));
      return inner.keys.map((key) => ({
        path: [...path, key],
        // A key of another branch of the union.
        message: known.includes(key)
          ? `it does not go with ${beside.join(' and ')}: one of them must go`
          : `unknown key${closest(key, known)}`,
      }));
    }
    const got = at(value, path);
    if (inner.code === 'invalid_type') {
      if (got === undefined) return [{ path, message: 'the key is missing' }];
      return [{ path, message: `expected ${named(inner.expected)}, got ${JSON.stringify(got)}` }];
    }
    if (inner.code === 'invalid_value') {
      return [{ path, message: `expected ${inner.values.join(' or ')}, got ${JSON.stringify(got)}` }];
    }
    if (inner.code === 'custom') return [{ path, message: inner.message }];
    const shown = typeof got === 'object' ? '' : `, got ${JSON.stringify(got)}`;
    return [{ path, message: `${inner.message}${shown}` }];
  });
}

function named(expected: string): string {
  if (expected === 'record' || expected === 'object') return 'a map of keys';
  if (expected === 'array') return 'a list';
  return expected === 'string' ? 'a text' : expected === 'int' ? 'a whole number' : `a ${expected}`;
}

/** The value at a path. */
function at(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const step of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<PropertyKey, unknown>)[step];
  }
  return current;
}

type JsonSchema = z.core.JSONSchema.BaseSchema;

function knownKeys(schema: z.ZodType, path: ConfigPath): string[] {
  let candidates: JsonSchema[] = [z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })];
  for (const step of path) candidates = candidates.flatMap((candidate) => below(candidate, step));
  return candidates.flatMap((candidate) =>
    branches(candidate).flatMap(({ properties }) => Object.keys(properties ?? {})),
  );
}

function branches(schema: JsonSchema): JsonSchema[] {
  const alternatives = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])] as JsonSchema[];
  return alternatives.length > 0 ? alternatives.flatMap(branches) : [schema];
}

function below(schema: JsonSchema, step: string | number): JsonSchema[] {
  return branches(schema).flatMap(({ properties, additionalProperties, items }) => {
    const next = typeof step === 'number' ? items : (properties?.[step] ?? additionalProperties);
    return typeof next === 'object' && !Array.isArray(next) ? [next as JsonSchema] : [];
  });
}

/** Makes every value whose schema has the format `path` absolute. */
function resolvePaths(schema: JsonSchema, value: unknown, path: (string | number)[], document: ConfigDocument): void {
  if (typeof value !== 'object' || value === null) return;
  for (const key of Object.keys(value)) {
    const step = Array.isArray(value) ? Number(key) : key;
    const child = (value as Record<string, unknown>)[key];
    for (const inner of below(schema, step)) {
      if (typeof child === 'string' && branches(inner).some(({ format }) => format === 'path')) {
        (value as Record<string, unknown>)[key] = resolve(document.folderOf([...path, step]), child);
      } else resolvePaths(inner, child, [...path, step], document);
    }
  }
}
