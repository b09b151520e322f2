import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import type { Column } from '../components/DataTable';
import { NumberLink, OwnerLink, placeOptions, usePlaces } from '../components/Directory';
import { Export } from '../components/Export';
import { List } from '../components/List';
import { NumberForm } from '../components/NumberForm';
import { TransferButton } from '../components/Transfer';
import { Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { directory, type FullNumber, type Owner } from '../directory';
import { phone, title } from '../format';
import { ownerWord } from '../places';
import { digits, given } from '../urlstate';

const route = getRouteApi('/c/$company/numbers');

export const statusWord = (status: string | null | undefined): string =>
  status === 'available' || status === 'port_pending' ? title(status) : status ? `${title(ownerWord(status))} assigned` : '';

export const statusTone = (status: string | null | undefined) => (status === 'available' ? 'ok' : status === 'port_pending' ? 'warn' : 'plain');

const statuses = ['available', 'user', 'department', 'office', 'room', 'contact_center', 'port_pending'];

const numberColumns = (company: string): Column<FullNumber>[] => [
  { id: 'number', header: 'Number', lead: true, cell: (n) => <NumberLink company={company} number={n.number} /> },
  { id: 'type', header: 'DID type', cell: (n) => title(n.type) || <span className="none">–</span> },
  { id: 'status', header: 'Status', cell: (n) => <Tag tone={statusTone(n.status)}>{statusWord(n.status)}</Tag> },
  { id: 'owner', header: 'Assigned to', cell: (n) => <OwnerLink company={company} owner={n.owner} /> },
  { id: 'area', header: 'Area code', numeric: true, cell: (n) => n.area_code || '–' },
  { id: 'prefix', header: 'Prefix', numeric: true, cell: (n) => n.prefix || '–' },
  { id: 'region', header: 'Region', cell: (n) => n.region || <span className="none">–</span> },
  {
    id: 'do',
    header: 'More',
    cell: (n) => (
      <span className="flags row-actions">
        <Link to="/c/$company/calls" params={{ company }} search={{ number: n.number }} aria-label={`Calls with ${phone(n.number)}`}>
          Calls
        </Link>
        {n.status === 'port_pending' ? null : <TransferButton company={company} number={n.number} owner={n.owner as Owner | null} />}
      </span>
    ),
  },
];

export function NumbersPage() {
  useTitle('Numbers');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const go = useNavigate();
  const [adding, setAdding] = useState(false);
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  const columns = useMemo(() => numberColumns(company), [company]);
  const offices = usePlaces(company, 'offices');
  const filtered = Object.keys(search).length > 0;
  return (
    <div className="page">
      <div className="title-row">
        <h1>Numbers</h1>
        <div className="actions">
          <button type="button" className="primary" onClick={() => setAdding(true)}>
            Add number
          </button>
          <Export company={company} route="numbers" filters={{ ...search, limit: 1000 }} what="numbers" />
        </div>
      </div>
      <Section heading="Numbers">
        <div className="filters">
          <TextFilter
            label="Full number, area code, prefix or suffix"
            value={search.q ?? ''}
            placeholder="+14155550101, 415, 555, 0101"
            onChange={(q) => set({ q: digits(q) })}
          />
          <Select label="DID type" value={search.type ?? ''} options={[['', 'Any'], ['local', 'Local'], ['toll_free', 'Toll free']]} onChange={(type) => set({ type })} />
          <Select label="Status" value={search.status ?? ''} options={[['', 'Any'], ...statuses.map((s): [string, string] => [s, statusWord(s)])]} onChange={(status) => set({ status })} />
          {offices.data && offices.data.items.length > 0 ? (
            <Select label="Office" value={search.office ?? ''} options={[['', 'Any'], ...placeOptions(offices.data.items)]} onChange={(office) => set({ office })} />
          ) : null}
          {filtered ? (
            <button type="button" className="quiet" onClick={() => void navigate({ search: {}, replace: true })}>
              Clear
            </button>
          ) : null}
        </div>
        <List
          what="numbers"
          queryKey={['numbers', company, search]}
          load={(p, signal) => directory.numbers(company, { ...search, ...p }, signal)}
          columns={columns}
          rowKey={(n) => n.number}
          empty={filtered ? 'No number matches.' : 'No numbers yet. Add one here, or port them in.'}
        />
      </Section>
      {adding ? <NumberForm company={company} onClose={() => setAdding(false)} onDone={(n) => void go({ to: '/c/$company/numbers/$number', params: { company, number: n.number } })} /> : null}
    </div>
  );
}
