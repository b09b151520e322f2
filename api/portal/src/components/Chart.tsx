import { useEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { RTTBand } from '../bands';
import type { Place } from '../evidence';
import { offset } from '../format';
import { type Chart, isEmpty, type Role, type Span, summarize } from '../series';
import { Why } from './Why';

interface Props {
  /** id is the place that a link to this graph names after #. */
  id: string;
  heading: string;
  help: string;
  chart: Chart;
  unit: string;
  /** floor is the lowest top that the vertical axis may have, so that small noise does not fill the graph. */
  floor: number;
  /** end is the length of the call in seconds: every graph of a call spans the same time. */
  end: number;
  spans: Span[];
  /** bands are painted behind the line. */
  bands?: RTTBand[];
  /** mark is the place of the evidence that the reader picked. */
  mark: Place | null;
  /** zoom is the part of the call that is shown; null is all of it. */
  zoom: Place | null;
  onZoom: (zoom: Place | null) => void;
  /** side whose app told what is drawn; absent where it is the network. */
  side?: 'target' | 'contact';
  /** group links the cursors of the graphs of one call. */
  group: string;
  empty: string;
}

const colours: Record<Role, string> = {
  current: '--blue', preferred: '--red', network: '--ink-3', in: '--blue', out: '--red',
  forth: '--blue', back: '--red', forth2: '--blue-2', back2: '--red-2',
};

const spanColours: Record<Span['kind'], string> = { 'one-way': '--span-alarm', hold: '--span-hold', mute: '--span-hold', choppy: '--span-choppy' };

const height = 190;

/** dark follows the viewer's colour scheme, because a canvas does not. */
function useDark(): boolean {
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)');
    const changed = () => setDark(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);
  return dark;
}

/** padded makes the time axis run from the start to the end of the call whatever was measured. */
function padded(chart: Chart, end: number): uPlot.AlignedData {
  const x = [...chart.x];
  const lines = chart.lines.map((l) => [...l.values]);
  if (x.length === 0 || x[0]! > 0) {
    x.unshift(0);
    for (const l of lines) l.unshift(undefined);
  }
  if (x[x.length - 1]! < end) {
    x.push(end);
    for (const l of lines) l.push(undefined);
  }
  return [x, ...lines] as uPlot.AlignedData;
}

/** paintBands fills the four bands; with names it writes what they mean, above the grid. */
function paintBands(u: uPlot, bands: RTTBand[], colour: (name: string) => string, names: boolean) {
  const { ctx, bbox } = u;
  const top = u.scales.y!.max ?? 0;
  ctx.save();
  if (names) {
    ctx.font = `${10 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = 'right';
  }
  for (const band of bands) {
    if (band.from >= top) break;
    const y0 = u.valToPos(band.from, 'y', true);
    const y1 = Number.isFinite(band.to) ? Math.max(bbox.top, u.valToPos(band.to, 'y', true)) : bbox.top;
    if (!names) {
      ctx.fillStyle = colour(`--wash-${band.band}`);
      ctx.fillRect(bbox.left, y1, bbox.width, y0 - y1);
    } else if (y0 - y1 > 12 * devicePixelRatio) {
      ctx.fillStyle = colour('--ink-2');
      ctx.fillText(band.label, bbox.left + bbox.width - 6 * devicePixelRatio, y1 + 12 * devicePixelRatio);
    }
  }
  ctx.restore();
}

function paintSpans(u: uPlot, spans: Span[], colour: (name: string) => string, faint: boolean) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = `600 ${10 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  let right = 0;
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const from = u.valToPos(span.from, 'x', true);
    const to = Math.max(from + 2, u.valToPos(span.to, 'x', true));
    if (to < bbox.left || from > bbox.left + bbox.width) continue;
    ctx.fillStyle = colour(spanColours[span.kind]);
    // Over the bands of the round trip a full wash would change their colours.
    ctx.globalAlpha = faint ? 0.5 : 1;
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
    ctx.globalAlpha = 1;
    ctx.fillStyle = colour(span.kind === 'one-way' ? '--alarm-ink' : '--ink-2');
    ctx.fillRect(from, bbox.top, devicePixelRatio, bbox.height);
    const left = Math.max(from, bbox.left) + 5 * devicePixelRatio;
    const width = ctx.measureText(span.label).width;
    // A label that would run into the next one or out of its narrow span goes a line down.
    const line = right > left ? 1 : 0;
    ctx.fillText(span.label, Math.min(left, bbox.left + bbox.width - width - 2 * devicePixelRatio), bbox.top + (12 + 12 * line) * devicePixelRatio);
    right = left + width;
  }
  ctx.restore();
}

/** paintMark outlines a place: a dashed line where it began, one where it ended, and a bar between them. */
function paintMark(u: uPlot, mark: Place, colour: (name: string) => string) {
  const { ctx, bbox } = u;
  const from = u.valToPos(mark.from, 'x', true);
  const to = u.valToPos(mark.to, 'x', true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  if (to - from > 2) {
    ctx.fillStyle = colour('--accent');
    ctx.fillRect(from, bbox.top, to - from, 3 * devicePixelRatio);
  }
  ctx.strokeStyle = colour('--accent');
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  for (const x of to - from > 2 ? [from, to] : [from]) {
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}

/** show sets the time axis to a part of the call. */
function show(u: uPlot, zoom: Place | null, end: number) {
  u.setScale('x', zoom ? { min: zoom.from, max: zoom.to } : { min: 0, max: end });
}

export function CallGraph({ id, heading, help, chart, unit, floor, end, spans: all, bands, mark, zoom, onZoom, side, group, empty }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const dark = useDark();
  // What the drawing hooks read; the plot itself is rebuilt only when its lines or colours change.
  const spans = all.filter((s) => (!s.graphs || s.graphs.includes(id.replace(/^contact-/, ''))) && (!s.side || !side || s.side === side));
  const live = useRef({ chart, spans, mark, end, unit, zoom, onZoom, bands });
  const shape = chart.lines.map((l) => `${l.label}|${l.role}`).join('\n');
  const nothing = isEmpty(chart);
  const [table, setTable] = useState(false);

  useEffect(() => {
    live.current = { chart, spans, mark, end, unit, zoom, onZoom, bands };
  });

  useEffect(() => {
    const element = box.current;
    if (!element || nothing) return;
    const style = getComputedStyle(element);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const digits = (v: number) => (live.current.unit === '' ? v.toFixed(3) : v >= 100 ? v.toFixed(0) : v.toFixed(1));
    const write = (u: uPlot) => {
      const slots = legend.current?.querySelectorAll('output');
      const when = legend.current?.querySelector('.at');
      const i = u.cursor.idx;
      if (when) when.textContent = i === null || i === undefined ? '' : offset(u.data[0][i]!);
      slots?.forEach((slot, n) => {
        // The nearest measured point: lines of different reports do not share moments.
        const idx = u.cursor.idxs?.[n + 1] ?? i;
        const v = idx === null || idx === undefined ? null : u.data[n + 1]?.[idx];
        slot.textContent = typeof v === 'number' ? `${digits(v)}${live.current.unit && ` ${live.current.unit}`}` : '';
      });
    };
    const axis = {
      stroke: colour('--ink-2'),
      font: '11px system-ui, sans-serif',
      grid: { stroke: colour('--grid'), width: 1 },
      ticks: { show: false },
    };
    const u = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [8, 12, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: group, scales: ['x', null], setSeries: false },
          // The part that was drawn over is shown on every graph of the call, not on this one alone.
          drag: { x: true, y: false, setScale: false },
          bind: { dblclick: () => () => (live.current.onZoom(null), null) },
          points: { size: 7 },
          y: false,
          dataIdx: (self, series, hovered) => {
            const values = self.data[series]!;
            for (let d = 0; d < 40; d++) {
              if (typeof values[hovered - d] === 'number') return hovered - d;
              if (typeof values[hovered + d] === 'number') return hovered + d;
            }
            return hovered;
          },
        },
        scales: {
          x: { time: false },
          y: { range: (_, __, max) => [0, Math.max(floor, (max ?? 0) * 1.12)] },
        },
        axes: [
          { ...axis, size: 26, gap: 7, values: (_, ticks) => ticks.map((t) => offset(t)), incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600] },
          { ...axis, size: 46, gap: 4, values: (_, ticks) => ticks.map((t) => `${t}`), splits: undefined, space: 32 },
        ],
        series: [
          {},
          ...live.current.chart.lines.map((l) => ({
            label: l.label,
            stroke: colour(colours[l.role]),
            width: l.role === 'network' ? 1 : l.role === 'forth2' || l.role === 'back2' ? 1.25 : 1.75,
            ...(l.role === 'forth2' || l.role === 'back2' ? { dash: [4, 3] } : {}),
            points: { size: 4 },
          })),
        ],
        hooks: {
          drawClear: [
            (self) => {
              if (live.current.bands) paintBands(self, live.current.bands, colour, false);
              paintSpans(self, live.current.spans, colour, !!live.current.bands);
            },
          ],
          draw: [
            (self) => {
              if (live.current.bands) paintBands(self, live.current.bands, colour, true);
              if (live.current.mark) paintMark(self, live.current.mark, colour);
            },
          ],
          setCursor: [write],
          setSelect: [
            (self) => {
              // A drag is told to the synced graphs too: one of them answers.
              if (self.select.width < 4 || self.cursor.event === undefined || self.cursor.event === null) return;
              const from = Math.max(0, self.posToVal(self.select.left, 'x'));
              const to = Math.min(live.current.end, self.posToVal(self.select.left + self.select.width, 'x'));
              self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              if (to - from > 0.5) live.current.onZoom({ from, to });
            },
          ],
        },
      },
      padded(live.current.chart, live.current.end),
      element,
    );
    plot.current = u;
    show(u, live.current.zoom, live.current.end);
    const resize = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== u.width) u.setSize({ width: element.clientWidth, height });
    });
    resize.observe(element);
    const touch = (event: TouchEvent) => {
      const finger = event.touches[0];
      if (!finger) return;
      // As a mouse would do, so that the graphs that share the cursor follow.
      u.over.dispatchEvent(new MouseEvent('mousemove', { clientX: finger.clientX, clientY: finger.clientY }));
    };
    u.over.addEventListener('touchstart', touch, { passive: true });
    u.over.addEventListener('touchmove', touch, { passive: true });
    return () => {
      resize.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [shape, dark, group, floor, nothing]);

  useEffect(() => {
    const u = plot.current;
    if (!u) return;
    u.setData(padded(chart, end), false);
    show(u, zoom, end);
  }, [chart, end, zoom]);

  useEffect(() => {
    plot.current?.redraw(false, false);
  }, [all, bands, mark]);

  // The cursor goes to the place that was picked, so that the legend tells the values there.
  useEffect(() => {
    const u = plot.current;
    if (!u || !mark) return;
    // The new scale holds only after the frame in which it was set.
    const frame = requestAnimationFrame(() => u.setCursor({ left: u.valToPos(mark.from, 'x'), top: 0 }));
    return () => cancelAnimationFrame(frame);
  }, [mark, zoom]);

  const words = nothing ? empty : summarize(chart, unit);
  return (
    <figure className="graph" id={id} data-from={(zoom?.from ?? 0).toFixed(1)} data-to={(zoom?.to ?? end).toFixed(1)}>
      <figcaption>
        <h3>
          {heading}
          {unit ? <span className="muted"> {unit}</span> : null}
        </h3>
        <p className="muted">{help}</p>
        {nothing ? null : (
          <div className="legend" ref={legend}>
            {chart.lines.map((l) => (
              <span key={l.label} className={`key key-${l.role}`}>
                <i aria-hidden="true" />
                {l.why ? <Why path={`samples:${l.why}`}>{l.label}</Why> : l.label} <output />
              </span>
            ))}
            <span className="at muted" />
          </div>
        )}
      </figcaption>
      {nothing ? <div className="state small">{empty}</div> : <div className="plot" ref={box} role="img" aria-label={`${heading}. ${words}`} />}
      {nothing ? null : (
        <details className="values" onToggle={(e) => setTable(e.currentTarget.open)}>
          <summary>Values as a table</summary>
          {table ? <Values chart={chart} heading={heading} unit={unit} /> : null}
        </details>
      )}
    </figure>
  );
}

function Values({ chart, heading, unit }: { chart: Chart; heading: string; unit: string }) {
  const shown = chart.x.slice(0, 1000);
  return (
    <div className="values-box" tabIndex={0} role="region" aria-label={`Values of ${heading}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {chart.lines.map((l) => (
              <th key={l.label} scope="col" className="numeric">
                {l.label}
                {unit ? `, ${unit}` : ''}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((t, i) => (
            <tr key={t}>
              <td>{offset(t)}</td>
              {chart.lines.map((l) => {
                const v = l.values[i];
                return (
                  <td key={l.label} className="numeric">
                    {typeof v === 'number' ? (unit === '' ? v.toFixed(4) : v.toFixed(2)) : '–'}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {chart.x.length > shown.length ? <p className="muted">The first {shown.length} of {chart.x.length} moments.</p> : null}
    </div>
  );
}
