import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import type { Column } from '../components/DataTable';
import { PlaceLink, placeOptions, usePlaces } from '../components/Directory';
import { List } from '../components/List';
import { PortForm } from '../components/PortForm';
import { Moment, Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { directory, type PortRequest } from '../directory';
import { day, portStates, portStateWord, portTone, portTypeWord } from '../ports';
import { given } from '../urlstate';

const route = getRouteApi('/c/$company/ports');

const columns = (company: string): Column<PortRequest>[] => [
  {
    id: 'batch',
    header: 'Batch ID',
    lead: true,
    cell: (p) => (
      <Link to="/c/$company/ports/$port" params={{ company, port: p.id }} className="strong break">
        {p.batch_id || p.id}
      </Link>
    ),
  },
  { id: 'company', header: 'Company', cell: () => company },
  { id: 'office', header: 'Office', cell: (p) => <PlaceLink company={company} kind="offices" id={p.office} /> },
  { id: 'lnp', header: 'LNP ID', cell: (p) => <span className="break">{p.lnp_id || <span className="none">–</span>}</span> },
  { id: 'dids', header: '# of DIDs', numeric: true, cell: (p) => p.dids },
  { id: 'type', header: 'Port type', cell: (p) => portTypeWord(p.port_type) },
  { id: 'modified', header: 'Date modified', cell: (p) => <Moment at={p.modified_at} /> },
  { id: 'requested', header: 'Date requested', cell: (p) => <Moment at={p.requested_at} /> },
  { id: 'state', header: 'State', cell: (p) => <Tag tone={portTone(p.state)}>{portStateWord(p.state)}</Tag> },
  { id: 'foc', header: 'FOC date', cell: (p) => day(p.foc_date) || <span className="none">–</span> },
];

export function PortsPage() {
  useTitle('Port requests');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const go = useNavigate();
  const [adding, setAdding] = useState(false);
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  const offices = usePlaces(company, 'offices');
  const shown = useMemo(() => columns(company), [company]);
  const filtered = Object.keys(search).length > 0;
  return (
    <div className="page">
      <div className="title-row">
        <h1>Port requests</h1>
        <div className="actions">
          <button type="button" className="primary" onClick={() => setAdding(true)}>
            New port request
          </button>
        </div>
      </div>
      <Section heading="Port requests">
        <div className="filters">
          <TextFilter label="Batch ID, LNP ID or number" value={search.q ?? ''} onChange={(q) => set({ q: q.trim() })} />
          <Select label="State" value={search.state ?? ''} options={[['', 'Any'], ...portStates.map((s): [string, string] => [s, portStateWord(s)])]} onChange={(state) => set({ state })} />
          <Select label="Office" value={search.office ?? ''} options={[['', 'Any'], ...placeOptions(offices.data?.items)]} onChange={(office) => set({ office })} />
          {filtered ? (
            <button type="button" className="quiet" onClick={() => void navigate({ search: {}, replace: true })}>
              Clear
            </button>
          ) : null}
        </div>
        <List
          what="port requests"
          queryKey={['ports', company, search]}
          load={(p, signal) => directory.ports(company, { ...search, ...p }, signal)}
          columns={shown}
          rowKey={(p) => p.id}
          empty={filtered ? 'No port request matches.' : 'No number was asked to be ported yet.'}
        />
      </Section>
      {adding ? <PortForm company={company} onClose={() => setAdding(false)} onDone={(p) => void go({ to: '/c/$company/ports/$port', params: { company, port: p.id } })} /> : null}
    </div>
  );
}
