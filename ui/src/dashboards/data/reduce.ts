/** From the values of a field to one. */

export const REDUCERS: Record<string, string> = {
  last: 'Last', lastNotNull: 'Last', first: 'First', firstNotNull: 'First', min: 'Min', max: 'Max', mean: 'Mean', avg: 'Mean', sum: 'Total', total: 'Total',
  count: 'Count', range: 'Range', delta: 'Delta', diff: 'Difference', diffperc: 'Difference %', median: 'Median', stdDev: 'Std dev', variance: 'Variance',
  distinctCount: 'Distinct', changeCount: 'Changes', logmin: 'Min above zero', step: 'Step', allIsZero: 'All zero', allIsNull: 'All empty',
};

/** Reduces values. NaN stands for a missing one, and is the result where there is none. */
export function reduce(values: ArrayLike<unknown>, how: string): number {
  const present: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value === 'number' && !Number.isNaN(value)) present.push(value);
  }
  if (how === 'count') return values.length;
  if (how === 'allIsNull') return Number(present.length === 0);
  if (how === 'last') return Number(values[values.length - 1] ?? NaN);
  if (how === 'first') return Number(values[0] ?? NaN);
  if (present.length === 0) return NaN;
  const sum = () => present.reduce((sum, value) => sum + value, 0);
  const extreme = (isBetter: (a: number, b: number) => boolean) => present.reduce((best, value) => (isBetter(value, best) ? value : best));
  const [first = NaN, last = NaN] = [present[0], present.at(-1)];
  switch (how) {
    case 'firstNotNull': return first;
    case 'min': return extreme((a, b) => a < b);
    case 'max': return extreme((a, b) => a > b);
    case 'logmin': return present.filter((value) => value > 0).reduce((least, value) => Math.min(least, value), Infinity);
    case 'mean':
    case 'avg': return sum() / present.length;
    case 'sum':
    case 'total': return sum();
    case 'range': return extreme((a, b) => a > b) - extreme((a, b) => a < b);
    case 'diff': return last - first;
    case 'diffperc': return (last - first) / first;
    case 'delta': return present.reduce((total, value, i) => total + Math.max(0, i > 0 ? value - (present[i - 1] ?? 0) : 0), 0);
    case 'allIsZero': return Number(present.every((value) => value === 0));
    case 'distinctCount': return new Set(present).size;
    case 'changeCount': return present.filter((value, i) => i > 0 && value !== present[i - 1]).length;
    case 'variance': return variance(present, sum() / present.length);
    case 'stdDev': return Math.sqrt(variance(present, sum() / present.length));
    case 'median': return quantile(present, 50);
    default: {
      const percentile = /^p(\d\d?)$/.exec(how);
      return percentile ? quantile(present, Number(percentile[1])) : last;
    }
  }
}

const variance = (values: number[], mean: number): number => values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;

function quantile(values: number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = ((sorted.length - 1) * percent) / 100;
  const low = sorted[Math.floor(at)] ?? NaN;
  return low + ((sorted[Math.ceil(at)] ?? low) - low) * (at % 1);
}
