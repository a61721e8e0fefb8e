import type { NewPlace, ReplayMark, StoredLetter } from './stored-letter.ts';

/** Puts records of dead letters back into what the job reads. Adapters: kafka/put-back.ts, kinesis/put-back.ts. */
export interface PutBack {
  /** Most that one call of put() takes: records, and their bytes with what goes around them. One record may be longer. */
  readonly mostRecords: number;
  readonly mostBytes: number;
  /** What was put back before, by former positions (`positionText`), where opening has found that out; else it is to be read now. */
  readonly marks?: ReadonlyMap<string, NewPlace>;
  /**
   * Puts the records, and a mark for each beside the letters.
   * @returns the marks, in the order of the letters.
   * @throws WeirError FENCED when somebody else replays; BROKER else. Whether it was done, who opens the next one finds out.
   */
  put(letters: readonly StoredLetter[]): Promise<ReplayMark[]>;
  close(): Promise<void>;
}
