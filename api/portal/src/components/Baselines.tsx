// A call against what is usual for its user, network, office and app version.
import type { Baseline, BaselineFigure, Evidence } from '../api';
import { quantity } from '../format';
import { type Column, DataTable } from './DataTable';
import { Moment, Section } from './ui';
import { Why } from './Why';

const kinds: Record<Baseline['kind'], string> = { user: 'User', network: 'Network', office: 'Office', app_version: 'App version' };

/** Baselines tells what is remarkable, and beside it every figure with what is usual; nothing where there is nothing to compare with. */
export function Baselines({ baselines, sentences }: { baselines?: Baseline[] | null; sentences?: Evidence[] | null }) {
  if (!baselines?.length) return null;
  return (
    <Section heading="Compared with what is usual" className="baselines">
      {sentences?.length ? (
        <ul className="said-baselines">
          {sentences.map((s) => (
            <li key={s.text}>{s.text}</li>
          ))}
        </ul>
      ) : (
        <p className="muted pad">Nothing about this call is far from what is usual.</p>
      )}
      <DataTable label="Compared with what is usual" rows={baselines.map((b, index) => ({ ...b, index }))} columns={columns} rowKey={(b) => b.kind} />
    </Section>
  );
}

interface Placed extends Baseline {
  index: number;
}

const figure = (id: 'rtt_ms' | 'rtt_p95_ms' | 'jitter_ms' | 'loss_percent' | 'mos', header: string, unit: string): Column<Placed> => ({
  id,
  header,
  cell: (b) => <Against figure={b[id]} path={`baselines[${b.index}].${id}`} unit={unit} />,
});

const columns: Column<Placed>[] = [
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
  { id: 'calls', header: 'Calls before', numeric: true, cell: (b) => <Why path={`baselines[${b.index}].calls`}>{b.calls}</Why> },
  { id: 'since', header: 'Since', cell: (b) => <Moment at={b.since} /> },
  figure('rtt_ms', 'Round trip', 'ms'),
  figure('rtt_p95_ms', 'Worst moments', 'ms'),
  figure('jitter_ms', 'Jitter', 'ms'),
  figure('loss_percent', 'Loss', '%'),
  figure('mos', 'MOS', ''),
];

/** Against writes the call's figure against the usual one. */
function Against({ figure: f, path, unit }: { figure?: BaselineFigure | null; path: string; unit: string }) {
  if (!f || f.this === null || f.this === undefined) return <span className="none">–</span>;
  return (
    <span className={f.remarkable ? 'remarkable num' : 'num'}>
      <Why path={`${path}.this`}>{quantity(f.this, unit)}</Why>{' '}
      <span className="muted">
        usual <Why path={`${path}.p50`}>{quantity(f.p50, unit)}</Why>
      </span>
      {f.remarkable && f.ratio && !path.endsWith('mos') ? (
        <b>
          {' '}
          <Why path={`${path}.ratio`}>{quantity(Math.round(f.ratio * 10) / 10)} ×</Why>
        </b>
      ) : null}
    </span>
  );
}
