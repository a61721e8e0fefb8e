import { isProbability } from '../scoring/model.ts';
import type { ScoredBatch, Scorer } from '../scoring/scorer.ts';
import { type DecodedBatch, deadLetter } from './decode/decoder.ts';
import type { Ownership, RawBatch } from './ports.ts';
import { type FeaturedBatch, keptRows } from './published-rows.ts';

/**
 * Scores what was decoded of `raw`. A row that the model has no probability for would have none if it were asked again: it is a dead letter, and the
 * others of its batch go on.
 * @returns the rows that have a risk event, with all dead letters in input order.
 */
export async function scoreRows(
  scorer: Scorer,
  raw: RawBatch,
  featured: FeaturedBatch,
  at: Ownership,
): Promise<{ readonly decoded: DecodedBatch; readonly scored: ScoredBatch }> {
  const answers = await scorer.score(featured.rows);
  if (answers.every(isProbability)) {
    const { decoded, rows } = featured;
    return { decoded, scored: await scorer.decide(decoded.batch, rows, answers, at) };
  }
  const rows = [...answers.keys()];
  const kept = rows.filter((row) => isProbability(answers[row]));
  const { rawIndexes } = featured.decoded.batch;
  const unscored = rows.filter((row) => !isProbability(answers[row]));
  const letters = unscored.map((row) => {
    const message = `the model answers ${answers[row]}, which is no probability`;
    return deadLetter(raw, rawIndexes[row], { reason: 'no-score', message }, at);
  });
  const { decoded, rows: features } = keptRows(featured, kept);
  const deadLetters = [...decoded.deadLetters, ...letters].sort((a, b) => a.offset - b.offset);
  const probabilities = Float32Array.from(kept, (row) => answers[row]);
  return {
    decoded: { ...decoded, deadLetters },
    scored: await scorer.decide(decoded.batch, features, probabilities, at),
  };
}
