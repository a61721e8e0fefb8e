import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parser } from '@prometheus-io/lezer-promql';
import { parse } from 'yaml';
import { createMetrics } from '../../runtime/metrics.ts';

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
const folder = 'infra/grafana/dashboards';

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

const dashboards = readdirSync(fileURLToPath(new URL(`../../${folder}`, import.meta.url))).map(
  (file) => JSON.parse(read(`${folder}/${file}`)) as Dashboard,
);
const { groups } = parse(read('infra/prometheus/alerts.yml')) as { groups: { rules: Alert[] }[] };
const alerts = groups.flatMap(({ rules }) => rules);

/** Every expression, with where it stands. Grafana fills its variables in before Prometheus sees them. */
const expressions = [
  ...alerts.map(({ alert, expr }) => ({ at: alert, expr })),
  ...dashboards.flatMap(({ uid, panels }) =>
    panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ at: `${uid}: ${title}`, expr }))),
  ),
].map(({ at, expr }) => ({ at, expr: expr.replaceAll('$__rate_interval', '1m') }));

/** What an expression asks for: metrics, and labels that it selects or groups by. Undefined for what is no PromQL. */
function askedIn(expr: string): { metrics: string[]; labels: string[] } | undefined {
  const metrics: string[] = [];
  const labels: string[] = [];
  let isWrong = false;
  parser.parse(expr).iterate({
    enter({ type, from, to }) {
      isWrong ||= type.isError;
      if (type.name === 'Identifier') metrics.push(expr.slice(from, to));
      if (type.name === 'LabelName') labels.push(expr.slice(from, to));
    },
  });
  return isWrong ? undefined : { metrics, labels };
}

const operations = read('docs/operations.md');
/** The rows of the table of metrics in docs/operations.md: names, type, labels. */
const documented = operations
  .split('\n')
  .filter((line) => /^\| `weir_/.test(line))
  .flatMap((line) => {
    const [, names, type, labels] = line.split('|').map((cell) => cell.trim());
    return [...names.matchAll(/`(weir_\w+)`/g)].map(([, name]) => ({
      name,
      type,
      labels: labels === '' ? [] : labels.split(', '),
    }));
  });

/** Labels that Prometheus adds, and that of histograms' buckets. */
const added = ['instance', 'job', 'le'];

let registered: Map<string, string>;
beforeAll(async () => {
  const text = await createMetrics().text();
  registered = new Map([...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [name, type]));
});

/** The metric that a series is of: histograms have three kinds of them. */
function metricOf(series: string): string | undefined {
  if (registered.has(series)) return registered.get(series) === 'histogram' ? undefined : series;
  const base = series.replace(/_(bucket|sum|count)$/, '');
  return registered.get(base) === 'histogram' ? base : undefined;
}

describe('the metrics', () => {
  it('are all documented, with their types, and no others', () => {
    const own = [...registered].filter(([name]) => name.startsWith('weir_'));
    expect(own.length).toBeGreaterThan(30);
    expect(documented.map(({ name, type }) => [name, type]).sort()).toEqual(own.sort());
  });
});

describe('dashboards and alerts', () => {
  it('are PromQL', () => {
    expect(expressions.length).toBeGreaterThan(60);
    expect(expressions.filter(({ expr }) => askedIn(expr) === undefined)).toEqual([]);
    for (const wrong of ['sum by (stream (weir_ready)', 'rate(weir_ready[5m)', 'weir_ready >'])
      expect(askedIn(wrong)).toBeUndefined();
  });

  it('ask for metrics that weir has, by labels that these have', () => {
    const faults = expressions.flatMap(({ at, expr }) => {
      const { metrics, labels } = askedIn(expr)!;
      const asked = metrics.filter((name) => name !== 'up').map((series) => ({ series, metric: metricOf(series) }));
      const unknown = asked
        .filter(({ metric }) => metric === undefined)
        .map(({ series }) => `${at} asks for ${series}`);
      const has = documented.filter(({ name }) => asked.some(({ metric }) => metric === name));
      const known = [...added, ...has.flatMap((of) => of.labels)];
      return [...unknown, ...labels.filter((label) => !known.includes(label)).map((label) => `${at} goes by ${label}`)];
    });
    expect(faults).toEqual([]);
  });

  it('leave no metric out of sight but those that explain others', () => {
    const shown = new Set(expressions.flatMap(({ expr }) => askedIn(expr)!.metrics.map(metricOf)));
    const unseen = documented.map(({ name }) => name).filter((name) => !shown.has(name));
    expect(unseen).toEqual(['weir_history_from_timestamp_seconds', 'weir_state_entities']);
  });

  it('have names and panels of their own, and alerts that say what to do', () => {
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
    expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length);
    for (const { panels } of dashboards) expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { alert, labels, annotations } of alerts) {
      expect(['page', 'ticket']).toContain(labels.severity);
      expect(annotations.summary).toMatch(/\S/);
      expect(annotations.description).toMatch(/\.$/);
      expect(annotations.runbook).toBe(`docs/operations.md#${alert.toLowerCase()}`);
      expect(operations).toContain(`\n### ${alert}\n`);
    }
  });
});
