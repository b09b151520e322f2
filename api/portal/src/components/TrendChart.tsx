import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Stack {
  at: number[]; // Unix seconds, begin of each bucket
  series: { name: string; colour: string; counts: number[] }[];
}

/** tick writes a moment of the axis: the day at midnight, else the hour. */
function tick(seconds: number): string {
  const t = new Date(seconds * 1000);
  const midnight = t.getHours() === 0 && t.getMinutes() === 0;
  return midnight
    ? t.toLocaleDateString(undefined, { month: 'short', day: 'numeric' })
    : t.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

/** TrendChart stacks counts by bucket. */
export function TrendChart({ stack, label, bucketSeconds }: { stack: Stack; label: string; bucketSeconds: number }) {
  const box = useRef<HTMLDivElement>(null);
  const [scheme, setScheme] = useState(0);
  const [tip, setTip] = useState<{ at: number; left: number; rows: { name: string; colour: string; count: number }[] } | null>(null);

  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)');
    const changed = () => setScheme((n) => n + 1);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);

  useEffect(() => {
    const element = box.current;
    if (!element || stack.at.length === 0) return;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    // Sums are drawn from the tallest to the lowest, each over the one before.
    const sums: number[][] = [];
    let below = stack.at.map(() => 0);
    for (const s of stack.series) {
      below = below.map((v, i) => v + (s.counts[i] ?? 0));
      sums.push(below);
    }
    const drawn = stack.series.map((s, i) => ({ ...s, sums: sums[i]! })).reverse();
    const bars = uPlot.paths.bars!({ size: [0.86, 64], gap: 0, align: 1 });
    const axis = {
      stroke: colour('--ink-2'), font: '11px system-ui, sans-serif',
      grid: { stroke: colour('--grid'), width: 1 }, ticks: { show: false },
    };
    const u = new uPlot(
      {
        width: element.clientWidth,
        height: 230,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: {
          x: { time: true, range: (_, min, max) => [min, max + bucketSeconds] },
          y: { range: (_, __, max) => [0, Math.max(4, (max ?? 0) * 1.1)] },
        },
        axes: [
          { ...axis, size: 26, gap: 7, grid: { show: false }, space: 64, values: (_, ticks) => ticks.map(tick) },
          { ...axis, size: 38, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], space: 30 },
        ],
        series: [
          {},
          ...drawn.map((s) => ({ label: s.name, stroke: colour(s.colour), fill: colour(s.colour), width: 0, paths: bars, points: { show: false } })),
        ],
        hooks: {
          setCursor: [
            (self) => {
              const left = self.cursor.left ?? -1;
              if (left < 0) return setTip(null);
              const t = self.posToVal(left, 'x');
              const i = stack.at.findLastIndex((at) => at <= t);
              if (i < 0) return setTip(null);
              setTip({
                at: stack.at[i]!,
                left: left + self.bbox.left / devicePixelRatio,
                rows: stack.series.map((s) => ({ name: s.name, colour: s.colour, count: s.counts[i] ?? 0 })).filter((r) => r.count > 0),
              });
            },
          ],
        },
      },
      [stack.at, ...drawn.map((s) => s.sums)],
      element,
    );
    const resize = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== u.width) u.setSize({ width: element.clientWidth, height: 230 });
    });
    resize.observe(element);
    return () => {
      resize.disconnect();
      u.destroy();
      setTip(null);
    };
  }, [stack, scheme, bucketSeconds]);

  return (
    <div className="trend-plot">
      <div className="plot" ref={box} role="img" aria-label={label} />
      {tip ? (
        <div className="tip" aria-hidden="true" style={{ left: `min(${Math.round(tip.left)}px, calc(100% - 14rem))` }}>
          <strong>{new Date(tip.at * 1000).toLocaleString(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })}</strong>
          {tip.rows.length === 0 ? <span>none</span> : null}
          {tip.rows.map((r) => (
            <span key={r.name}>
              <i style={{ background: `var(${r.colour})` }} />
              {r.name}
              <b>{r.count}</b>
            </span>
          ))}
        </div>
      ) : null}
    </div>
  );
}
