/** Columns under their heads, two spaces apart; columns of numbers are flush right. */
export function table(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'number' ? cell.toLocaleString('en-US', { maximumFractionDigits: 6 }) : cell)),
  );
  const widths = heads.map((head, k) => cells.reduce((width, row) => Math.max(width, row[k].length), head.length));
  const isNumber = heads.map(
    (_, k) => rows.length > 0 && rows.every((row) => typeof row[k] === 'number' || row[k] === ''),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, k) => (isNumber[k] ? cell.padStart(widths[k]) : cell.padEnd(widths[k])))
      .join('  ')
      .trimEnd();
  return `${[line(heads), ...cells.map(line)].join('\n')}\n`;
}
