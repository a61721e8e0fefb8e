import { readFileSync } from 'node:fs';
import type { LeaseItem } from '../../consumers/kinesis/lease.ts';

/** The lease tables of real fleets of the Kinesis Client Library, after each stage of a run: one worker, two, kill, split, merge, clean-up. */
export const kclStages = lines<KclStage>('kcl-leases.jsonl');

/** Every kind of request that they sent, one of each. */
export const kclRequests = lines<KclRequest>('kcl-requests.jsonl');

export interface KclStage {
  /** 2.7.2, or 3.5.1 in its mode. */
  readonly version: string;
  readonly stage: string;
  readonly items: readonly LeaseItem[];
}

export interface KclRequest {
  readonly version: string;
  readonly operation: string;
  readonly request: {
    readonly Item?: LeaseItem;
    readonly Key?: LeaseItem;
    readonly Expected?: Record<string, { Value?: { N?: string; S?: string }; Exists?: boolean }>;
    readonly AttributeUpdates?: Record<string, { Action: string; Value?: { N?: string; S?: string; SS?: string[] } }>;
  };
}

function lines<T>(name: string): T[] {
  const text = readFileSync(new URL(`../golden/${name}`, import.meta.url), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}
