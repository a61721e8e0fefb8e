/** CloudEvents 1.0 attributes that all risk events share. The type's version goes up when a subscriber could break. */
export const eventType = 'weir.risk.scored.v1';

/** CloudEvents source of a job's risk events. */
export function eventSource(job: string): string {
  return `/weir/${job}`;
}

/**
 * A risk event in CloudEvents' structured JSON mode, as one line.
 * @returns the line's parts, to be written one after the other; the encoded data is spliced in as it is.
 */
export function structuredEvent(
  job: string,
  { id, time, data }: { readonly id: string; readonly time: string; readonly data: Buffer },
): Buffer[] {
  const head = `{"specversion":"1.0","id":${JSON.stringify(id)},"source":${JSON.stringify(eventSource(job))},"type":"${eventType}","time":"${time}","datacontenttype":"application/json","data":`;
  return [Buffer.from(head), data, end];
}

const end = Buffer.from('}\n');
