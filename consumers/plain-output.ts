import type { Output, OutputBatch, Ownership } from './ports.ts';

/**
 * At-least-once: what was sent and not yet checkpointed when a process dies is sent again by the next owner. Positions are
 * checkpointed behind the batches, one at a time and always the newest: a batch waits only for its records to be taken.
 * @param send resolves once the destination has taken all of a batch.
 */
export function openPlainOutput(ownership: Ownership, send: (batch: OutputBatch) => Promise<void>): Output {
  let sent = Number.NEGATIVE_INFINITY;
  let checkpointed = Number.NEGATIVE_INFINITY;
  let checkpointing: Promise<void> | undefined;
  let fault: { readonly error: unknown } | undefined;

  /** One checkpoint of the newest position, and then another one if more was sent meanwhile. */
  async function checkpoint(): Promise<void> {
    const position = sent;
    try {
      await ownership.checkpoint(position);
      checkpointed = position;
    } catch (error) {
      fault = { error };
    }
    checkpointing = fault === undefined && checkpointed < sent ? checkpoint() : undefined;
  }

  /** All that was sent before the call is checkpointed. */
  async function sync(): Promise<void> {
    const wanted = sent;
    while (checkpointed < wanted && checkpointing !== undefined) await checkpointing;
    if (fault !== undefined) throw fault.error;
  }

  return {
    async position() {
      await sync();
      return ownership.checkpointed();
    },
    async publish(batch, position) {
      if (fault !== undefined) throw fault.error;
      await send(batch);
      sent = position;
      checkpointing ??= checkpoint();
    },
    sync,
    close: () => sync().catch(() => undefined),
  };
}
