import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parser } from '@prometheus-io/lezer-promql';
import { parse } from 'yaml';
import type { LeaseEvent, LeaseLook } from '../../consumers/kinesis/lease-event.ts';
import type { OnRequest, RequestOutcome } from '../../consumers/kinesis/requests.ts';
import { createMetrics, type Metrics } from '../../runtime/metrics.ts';
import { decisionNames } from '../../scoring/policy.ts';

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
const { scrape_configs: scraped } = parse(read('infra/prometheus/prometheus.yml')) as {
  scrape_configs: { job_name: string }[];
};

/** Every expression, with where it stands. Grafana fills its variables in before Prometheus sees them. */
const expressions = [
  ...alerts.map(({ alert, expr }) => ({ at: alert, expr })),
  ...dashboards.flatMap(({ uid, panels }) =>
    panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ at: `${uid}: ${title}`, expr }))),
  ),
].map(({ at, expr }) => ({ at, expr: expr.replaceAll('$__rate_interval', '1m') }));

interface Asked {
  readonly metrics: readonly string[];
  readonly labels: readonly string[];
  /** Each value of a label that a series is to have, or not to have. */
  readonly values: readonly { readonly of: string; readonly value: string }[];
}

/** What an expression asks for: metrics, and labels that it selects or groups by. Undefined for what is no PromQL. */
function askedIn(expr: string): Asked | undefined {
  const metrics: string[] = [];
  const labels: string[] = [];
  const values: { of: string; value: string }[] = [];
  let isWrong = false;
  parser.parse(expr).iterate({
    enter({ type, from, to }) {
      isWrong ||= type.isError;
      const text = expr.slice(from, to);
      if (type.name === 'Identifier') metrics.push(text);
      if (type.name === 'LabelName') labels.push(text);
      const [, label, alternatives] = (type.name === 'UnquotedLabelMatcher' && /^(\w+)\W+"(.*)"$/.exec(text)) || [];
      for (const value of alternatives?.split('|') ?? []) values.push({ of: `${metrics.at(-1)} ${label}`, value });
    },
  });
  return isWrong ? undefined : { metrics, labels, values };
}

type LeaseChange = Exclude<LeaseEvent['kind'], 'trouble'>;
type ThrottledOperation = Parameters<Metrics['kinesisThrottled']>[0];

/** What the code says in labels, where somebody looks for it. */
const said: Readonly<Record<string, readonly string[]>> = {
  'up job': scraped.map(({ job_name }) => job_name),
  'weir_decisions_total decision': decisionNames,
  'weir_kinesis_leases owner': ['self', 'other', 'none'] satisfies (keyof LeaseLook['leases'])[],
  'weir_kinesis_lease_changes_total change': ['expired', 'gone', 'lost'] satisfies LeaseChange[],
  'weir_kinesis_throttled_total operation': ['get', 'put'] satisfies ThrottledOperation[],
  'weir_aws_requests_total outcome': ['ok', 'throttled'] satisfies RequestOutcome[],
  'weir_aws_requests_total service': ['kinesis', 'dynamodb'] satisfies Parameters<OnRequest>[0][],
};

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

  it('count shards that are gone from 0: one alone is an increase', async () => {
    const metrics = createMetrics();
    metrics.leases('s', {}, {});
    const counted = 'weir_kinesis_lease_changes_total{stream="s",change="gone"}';
    expect(await metrics.text()).toContain(`${counted} 0\n`);
    metrics.leaseChanged('s', 'gone');
    metrics.leases('s', {}, {});
    expect(await metrics.text()).toContain(`${counted} 1\n`);
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

  it('look for what labels say', () => {
    const looked = expressions.flatMap(({ at, expr }) => askedIn(expr)!.values.map((one) => ({ at, ...one })));
    const sought = looked.filter(({ value }) => value !== '$instance');
    expect(new Set(sought.map(({ of }) => of))).toEqual(new Set(Object.keys(said)));
    expect(sought.filter(({ of, value }) => !said[of].includes(value))).toEqual([]);
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
