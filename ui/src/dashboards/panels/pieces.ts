/** The pieces of a strip of states. */

export interface Piece {
  from: number;
  to: number;
  value: number;
}

/** Joins equal values that follow each other. Positions are numbers of steps. */
export function piecesOf(values: Float64Array, merges: boolean): Piece[] {
  const pieces: Piece[] = [];
  values.forEach((value, i) => {
    if (Number.isNaN(value)) return;
    const last = pieces.at(-1);
    if (merges && last && last.to === i && last.value === value) last.to = i + 1;
    else pieces.push({ from: i, to: i + 1, value });
  });
  return pieces;
}
