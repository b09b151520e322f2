// A call against what is usual for its user, network, office and app version.
import type { Baseline, BaselineFigure, Evidence } from '../api';
import { quantity } from '../format';
import { type Column, DataTable } from './DataTable';
import { Moment } from './ui';

const kinds: Record<Baseline['kind'], string> = { user: 'User', network: 'Network', office: 'Office', app_version: 'App version' };

/** Baselines tells what is remarkable, and beside it every figure with what is usual; nothing where there is nothing to compare with. */
export function Baselines({ baselines, sentences }: { baselines?: Baseline[] | null; sentences?: Evidence[] | null }) {
  if (!baselines?.length) return null;
  return (
    <div className="baselines">
      {sentences?.length ? (
        <ul className="said-baselines">
          {sentences.map((s) => (
            <li key={s.text}>{s.text}</li>
          ))}
        </ul>
      ) : (
        <p className="muted">Nothing about this call is far from what is usual.</p>
      )}
      <DataTable label="Compared with what is usual" rows={baselines} columns={columns} rowKey={(b) => b.kind} />
    </div>
  );
}

const columns: Column<Baseline>[] = [
  {
    id: 'who',
    header: 'Compared with',
    lead: true,
    cell: (b) => (
      <>
        <span className="strong break">{b.name}</span> <span className="muted">{kinds[b.kind]}</span>
      </>
    ),
  },
  { id: 'calls', header: 'Calls before', numeric: true, cell: (b) => b.calls },
  { id: 'since', header: 'Since', cell: (b) => <Moment at={b.since} /> },
  { id: 'rtt', header: 'Round trip', cell: (b) => <Against figure={b.rtt_ms} unit="ms" what="medians of the round trip" /> },
  { id: 'rtt95', header: 'Worst moments', cell: (b) => <Against figure={b.rtt_p95_ms} unit="ms" what="95th percentiles of the round trip" /> },
  { id: 'jitter', header: 'Jitter', cell: (b) => <Against figure={b.jitter_ms} unit="ms" what="95th percentiles of jitter" /> },
  { id: 'loss', header: 'Loss', cell: (b) => <Against figure={b.loss_percent} unit="%" what="losses" /> },
  { id: 'mos', header: 'MOS', cell: (b) => <Against figure={b.mos} unit="" what="averages of MOS" low /> },
];

/** Against writes the call's figure against the usual one; where it comes from shows on hover and to assistive technology. */
function Against({ figure: f, unit, what, low }: { figure?: BaselineFigure | null; unit: string; what: string; low?: boolean }) {
  if (!f || f.this === null || f.this === undefined) return <span className="none">–</span>;
  const recent = f.recent_calls > 0 && f.recent_p50 !== null ? ` Others in the 24 h before: ${quantity(f.recent_p50, unit)}, median of ${f.recent_calls} calls.` : '';
  const from = `This call: ${quantity(f.this, unit)}. Usual: ${quantity(f.p50, unit)}, the median of the ${what} of ${f.calls} calls that began in the 28 days before; ${
    low ? 'one in ten was below' : 'one in ten was above'
  } ${quantity(f.p90, unit)}.${recent}`;
  return (
    <span title={from} className={f.remarkable ? 'remarkable num' : 'num'}>
      {quantity(f.this, unit)} <span className="muted">usual {quantity(f.p50, unit)}</span>
      {f.remarkable && f.ratio && !low ? <b> {quantity(Math.round(f.ratio * 10) / 10)} ×</b> : null}
    </span>
  );
}
