/** A small picture of one series. */

const WIDTH = 260;
const HEIGHT = 48;

export function Spark({ points, label }: { points: [time: number, value: number][]; label: string }) {
  const finite = points.filter(([, value]) => Number.isFinite(value));
  const values = finite.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const start = points[0]?.[0] ?? 0;
  const span = (points.at(-1)?.[0] ?? 0) - start || 1;
  const y = (value: number) => (high > low ? HEIGHT - 3 - ((value - low) / (high - low)) * (HEIGHT - 6) : HEIGHT / 2);
  const path = finite.map(([time, value], i) => `${i === 0 ? 'M' : 'L'}${(((time - start) / span) * WIDTH).toFixed(1)} ${y(value).toFixed(1)}`).join('');
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {finite.length > 1 && <path d={path} />}
    </svg>
  );
}
