/** Of a partition whose log begins behind the group's position. */
export function lostSentence({ partition, lost }: { readonly partition: number; readonly lost: number }): string {
  return `Partition ${partition}: ${lost.toLocaleString('en-US')} records were deleted before they were read: never scored.`;
}
