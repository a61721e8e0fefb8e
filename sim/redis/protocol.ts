/** The words of a call in Redis's protocol. */
export function readCall(bytes: Buffer): Buffer[] {
  let at = 1;

  function count(): number {
    const end = bytes.indexOf(13, at);
    const value = Number(bytes.toString('latin1', at, end));
    at = end + 2;
    return value;
  }

  return Array.from({ length: count() }, () => {
    at++; // $
    const length = count();
    const word = Buffer.from(bytes.subarray(at, at + length));
    at += length + 2;
    return word;
  });
}
