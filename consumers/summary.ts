import { createHistogram } from 'node:perf_hooks';
import type { TransactionBatch } from '../features/columns.ts';

/** What a run did, for a person or a script. */
export interface JobSummary {
  /** Records read, valid or not. */
  readonly events: number;
  /** Risk events published. */
  readonly published: number;
  readonly deadLetters: number;
  readonly seconds: number;
  /** From the read of a record's batch to its published risk event, milliseconds. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly p999: number };
  readonly decisions: Readonly<Record<string, number>>;
  /** Against the labels, where the job names a label: an alert is any decision but approve. */
  readonly alerts:
    | { readonly truePositives: number; readonly falsePositives: number; readonly falseNegatives: number }
    | undefined;
  readonly riskiest: readonly RiskyTransaction[];
  /** Events too late to be applied to the state. */
  readonly late: number;
  /** Events that repeat an earlier one: left out. */
  readonly repeats: number;
}

export interface RiskyTransaction {
  readonly transactionId: string;
  readonly probability: number;
  readonly decision: string;
  /** Encoded risk event (CloudEvents data), for its reasons. */
  readonly data: Buffer;
}

/** The scored side of a batch as the summary needs it; row i of each belongs to row i of the batch. */
export interface SummarizedBatch {
  readonly batch: TransactionBatch;
  readonly records: number;
  readonly deadLetters: number;
  readonly late: number;
  readonly repeats: number;
  readonly probabilities: Float32Array;
  readonly decisions: Uint8Array;
  readonly events: readonly { readonly data: Buffer }[];
  /** From read to published, milliseconds. */
  readonly latencyMs: number;
}

export interface SummaryBuilder {
  add(batch: SummarizedBatch): void;
  finish(seconds: number): JobSummary;
}

const riskiestKept = 5;

/**
 * @param decisionNames names by decision index; index 0 is approve.
 * @param labelField index of the flag field that holds the truth, -1 for none.
 */
export function createSummary(decisionNames: readonly string[], labelField: number): SummaryBuilder {
  const latencies = createHistogram({ lowest: 1, highest: 600_000_000, figures: 3 });
  const decisions = new Array<number>(decisionNames.length).fill(0);
  const riskiest: RiskyTransaction[] = [];
  let [events, published, deadLetters, late, repeats] = [0, 0, 0, 0, 0];
  let [truePositives, falsePositives, falseNegatives] = [0, 0, 0];

  /** The highest probability; among equals (without a model, all) the severest decision. */
  const isRiskier = (probability: number, decision: number, than: RiskyTransaction): boolean =>
    probability > than.probability ||
    (probability === than.probability && decision > decisionNames.indexOf(than.decision));

  function keepRiskiest({ batch, probabilities, decisions: decided, events: encoded }: SummarizedBatch, row: number) {
    const probability = probabilities[row];
    if (riskiest.length === riskiestKept && !isRiskier(probability, decided[row], riskiest[riskiestKept - 1])) return;
    const decision = decisionNames[decided[row]];
    const place = riskiest.findIndex((other) => isRiskier(probability, decided[row], other));
    const data = Buffer.from(encoded[row].data);
    riskiest.splice(place < 0 ? riskiest.length : place, 0, {
      transactionId: batch.ids[row],
      probability,
      decision,
      data,
    });
    riskiest.length = Math.min(riskiest.length, riskiestKept);
  }

  return {
    add(of) {
      const { batch } = of;
      events += of.records;
      deadLetters += of.deadLetters;
      late += of.late;
      repeats += of.repeats;
      published += batch.count;
      const latencyUs = Math.max(1, Math.round(of.latencyMs * 1000));
      const labels = labelField < 0 ? undefined : batch.numbers[labelField];
      for (let row = 0; row < batch.count; row++) {
        const decision = of.decisions[row];
        decisions[decision]++;
        latencies.record(latencyUs);
        if (labels) {
          if (decision !== 0) labels[row] === 1 ? truePositives++ : falsePositives++;
          else if (labels[row] === 1) falseNegatives++;
        }
        keepRiskiest(of, row);
      }
    },
    finish(seconds) {
      const percentile = (at: number) => (published === 0 ? 0 : latencies.percentile(at) / 1000);
      return {
        events,
        published,
        deadLetters,
        seconds,
        latencyMs: { p50: percentile(50), p99: percentile(99), p999: percentile(99.9) },
        decisions: Object.fromEntries(decisionNames.map((name, index) => [name, decisions[index]])),
        alerts: labelField < 0 ? undefined : { truePositives, falsePositives, falseNegatives },
        riskiest,
        late,
        repeats,
      };
    },
  };
}
