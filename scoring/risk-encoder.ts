import type { TransactionBatch } from '../features/columns.ts';
import type { FeatureSet } from '../features/plan.ts';
import { type FeatureRows, featureStates } from '../features/rows.ts';
import { WeirError } from '../runtime/errors.ts';
import type { ModelIdentity } from './model.ts';
import { type CompiledPolicy, decisionNames, type Verdicts } from './policy.ts';
import { createTimeFormat } from './rfc3339.ts';
import { type FeatureReason, riskScore } from './risk-event.ts';

export interface RiskEncoderOptions {
  readonly set: FeatureSet;
  readonly model: ModelIdentity;
  readonly policy: CompiledPolicy;
  readonly mode: 'live' | 'replay';
}

/** Everything that is known of a batch; row i of each belongs to row i of the batch. */
export interface ScoredRows {
  readonly batch: TransactionBatch;
  readonly rows: FeatureRows;
  /** Published probabilities. */
  readonly probabilities: Float64Array;
  readonly verdicts: Verdicts;
  /** By row; rows without an entry have none. */
  readonly reasons: ReadonlyMap<number, readonly FeatureReason[]>;
  /** As published: ids or tokens. Shape of TransactionBatch.entityIds. */
  readonly entityIds: readonly (readonly string[])[];
  readonly stream: string;
  readonly partition: number;
  /** Milliseconds since the epoch. */
  readonly scoredAt: number;
}

export interface EncodedRows {
  /** Event times as text. */
  readonly times: readonly string[];
  /** JSON in UTF-8, one for each row: parts of one allocation. */
  readonly data: readonly Buffer[];
}

/**
 * Writes risk events by hand: all that is the same for every event of a job, keys above all, is made into text once, and the bytes of
 * a batch are written once. Gives what JSON.stringify would of the object described in risk-event.ts.
 */
export function createRiskEncoder({
  set,
  model,
  policy,
  mode,
}: RiskEncoderOptions): (scored: ScoredRows) => EncodedRows {
  const formatTime = createTimeFormat();
  // Of its own: days of long ago among those of now would be formatted anew each time.
  const formatHistory = createTimeFormat();
  const entityKeys = set.layout.entities.map(({ name }) => `${JSON.stringify(name)}:`);
  const featureKeys = set.names.map((name, column) => `${column === 0 ? '' : ','}${JSON.stringify(name)}:`);
  const stateTexts = set.names.map((name) => featureStates.map((state) => `${JSON.stringify(name)}:"${state}"`));
  const rules = policy.rules.map(({ name, decision }) => ({
    name: JSON.stringify(name),
    reason: JSON.stringify({ type: 'rule', name, decision }),
  }));
  const decisionTexts = decisionNames.map((name) => `,"decision":"${name}","risk_score":`);
  const versions =
    `,"model":${JSON.stringify({ id: model.id, version: model.version, sha256: model.sha256 })}` +
    `,"policy":{"version":"${policy.version}"},"feature_set":{"version":"${set.hash.slice(0, 12)}"},"features":{`;
  const tail = `},"mode":"${mode}"}`;

  function entityTexts(entityIds: ScoredRows['entityIds'], row: number): string {
    let text = '';
    for (let k = 0; k < entityKeys.length; k++) {
      const id = entityIds[k][row];
      if (id !== '') text += (text === '' ? '' : ',') + entityKeys[k] + jsonText(id);
    }
    return text;
  }

  /** `"reasons":[...],"rules":[...]` */
  function reasonTexts({ fired }: Verdicts, reasons: readonly FeatureReason[] | undefined, row: number): string {
    let names = '';
    let list = '';
    for (let rule = 0; rule < rules.length; rule++) {
      if (fired[rule][row] === 0) continue;
      const comma = names === '' ? '' : ',';
      names += comma + rules[rule].name;
      list += comma + rules[rule].reason;
    }
    for (const reason of reasons ?? []) list += (list === '' ? '' : ',') + JSON.stringify(reason);
    return `,"reasons":[${list}],"rules":[${names}]`;
  }

  function featureTexts({ values }: FeatureRows, base: number): string {
    let text = '';
    for (let k = 0; k < featureKeys.length; k++) {
      const value = values[base + k];
      if (!Number.isFinite(value)) throw new WeirError('INTERNAL', `the feature ${set.names[k]} came out as ${value}`);
      text += featureKeys[k] + value;
    }
    return text;
  }

  function stateOf({ states }: FeatureRows, base: number): string {
    let text = '';
    for (let k = 0; k < featureKeys.length; k++) {
      const state = states[base + k];
      if (state !== 0) text += (text === '' ? '' : ',') + stateTexts[k][state];
    }
    return text;
  }

  /** Most batches have none. */
  function boundsOf({ bounds, width }: FeatureRows, base: number): string {
    const named: Record<string, readonly (number | null)[]> = {};
    for (let column = 0; column < width; column++) {
      const held = bounds.get(base + column);
      if (held !== undefined)
        named[set.names[column]] = held.map((end) => (Math.abs(end) < Number.MAX_VALUE ? end : null));
    }
    return Object.keys(named).length === 0 ? '' : `,"feature_bounds":${JSON.stringify(named)}`;
  }

  /** Where history is short. */
  function historyText(knownFrom: number): string {
    if (Number.isNaN(knownFrom)) return '';
    return `,"history_from":${Number.isFinite(knownFrom) ? `"${formatHistory(knownFrom)}"` : 'null'}`;
  }

  return (scored) => {
    const { batch, rows, probabilities, verdicts, reasons, entityIds } = scored;
    const scoredAt = `","scored_at":"${formatTime(scored.scoredAt)}"`;
    const position = `,"source_position":{"stream":${JSON.stringify(scored.stream)},"partition":${scored.partition},"offset":`;
    const times: string[] = new Array(batch.count);
    const texts: string[] = new Array(batch.count);
    for (let row = 0; row < batch.count; row++) {
      const base = row * rows.width;
      times[row] = formatTime(batch.times[row]);
      texts[row] =
        `{"transaction_id":${jsonText(batch.ids[row])},"kind":${jsonText(batch.kinds[row])}` +
        `,"entities":{${entityTexts(entityIds, row)}},"event_time":"${times[row]}${scoredAt}` +
        `${decisionTexts[verdicts.decisions[row]]}${riskScore(probabilities[row])},"probability":${probabilities[row]}` +
        `${reasonTexts(verdicts, reasons.get(row), row)}${versions}${featureTexts(rows, base)}` +
        `},"feature_state":{${stateOf(rows, base)}}${rows.bounds.size === 0 ? '' : boundsOf(rows, base)}` +
        `${historyText(rows.knownFrom[row])}` +
        `${position}${batch.offsets[row]}${tail}`;
    }
    return { times, data: toBuffers(texts) };
  };
}

/** ASCII that JSON text holds as it is. */
const plain = /^[ !#-[\]-~]*$/;

function jsonText(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** UTF-8 of all texts in one allocation, as one part for each. */
function toBuffers(texts: readonly string[]): Buffer[] {
  let total = 0;
  for (const text of texts) total += Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafeSlow(total);
  let at = 0;
  return texts.map((text) => {
    const from = at;
    at += bytes.write(text, from);
    return bytes.subarray(from, at);
  });
}
