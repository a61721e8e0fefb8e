import { closest } from '../runtime/closest.ts';
import type { ConfigFault } from '../runtime/config/document.ts';
import type { JobConfig } from './config.ts';

type KindConfig = JobConfig['event']['kind'];

/** Places that name a kind which `event.kind` never gives: what they ask for could never be. */
export function kindFaults({ event, filters, policy }: Partial<JobConfig>): ConfigFault[] {
  if (event === undefined) return [];
  const named = [
    ...(event.unscored ?? []).map((kind, index) => ({ path: ['event', 'unscored', index], kind })),
    ...Object.entries(filters ?? {}).flatMap(([name, filter]) =>
      kindsComparedIn(filter).map((kind) => ({ path: ['filters', name], kind })),
    ),
    ...(policy ?? []).flatMap(({ when }, index) =>
      kindsComparedIn(when).map((kind) => ({ path: ['policy', index, 'when'], kind })),
    ),
  ];
  const kinds = kindsOf(event.kind);
  return named
    .filter(({ kind }) => !kinds.includes(kind))
    .map(({ path, kind }) => ({
      path,
      message: `event.kind gives no kind ${kind}${closest(kind, kinds)}; it gives ${kinds.join(', ')}`,
    }));
}

function kindsOf(config: KindConfig): string[] {
  return 'const' in config ? [config.const] : [...new Set(Object.values(config.map))];
}

/** The texts that an expression compares `kind` with: `kind == "a"`, `"a" != kind`, `kind in ("a", "b")`. */
function kindsComparedIn(expression: string): string[] {
  const tokens: string[] = expression.match(/"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z_][\w.-]*|[=!<>~]=|\S/g) ?? [];
  const isEquality = (token: string | undefined) => token === '==' || token === '!=';
  return tokens.flatMap((token, at) => {
    if (token !== 'kind' && token !== "'kind'") return [];
    const sides = [isEquality(tokens[at + 1]) ? tokens[at + 2] : '', isEquality(tokens[at - 1]) ? tokens[at - 2] : ''];
    const list = tokens.slice(at + 1, at + 4).join(' ');
    const listed = /^(not )?in \(/.test(list) ? tokens.slice(at + 3, tokens.indexOf(')', at)) : [];
    return [...sides, ...listed].filter((text) => text?.startsWith('"')).map((text) => text.slice(1, -1));
  });
}
