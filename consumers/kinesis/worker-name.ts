/**
 * A worker's name in the lease table. It is never the same twice: a process that comes back must not go on with leases that its former
 * self may still be at work on.
 * @param unique six random bytes.
 */
export function workerName(process: string, unique: Buffer): string {
  return `${process}:${unique.toString('hex')}`;
}

/** Whether it is one of weir's. The Kinesis Client Library's own end with a UUID. */
export function isWeirWorker(name: string): boolean {
  return /:[0-9a-f]{12}$/.test(name);
}
