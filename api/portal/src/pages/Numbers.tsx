import { getRouteApi, Link } from '@tanstack/react-router';
import { api, type NumberItem } from '../api';
import type { Column } from '../components/DataTable';
import { List } from '../components/List';
import { Copy, Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { phone, title } from '../format';
import { digits } from '../urlstate';

const route = getRouteApi('/c/$company/numbers');

export function NumbersPage() {
  useTitle('Numbers');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => {
    const clean = Object.fromEntries(Object.entries(change).map(([k, v]) => [k, v || undefined]));
    void navigate({ search: (s) => ({ ...s, ...clean }), replace: true });
  };
  const columns: Column<NumberItem>[] = [
    {
      id: 'number',
      header: 'Number',
      lead: true,
      cell: (n) => (
        <span className="id">
          <span className="num strong">{phone(n.number)}</span>
          <Copy text={n.number} what="number" />
        </span>
      ),
    },
    { id: 'type', header: 'DID type', cell: (n) => title(n.type) || <span className="none">–</span> },
    { id: 'status', header: 'Status', cell: (n) => <Tag tone={n.status === 'available' ? 'ok' : n.status === 'port_pending' ? 'warn' : 'plain'}>{title(n.status)}</Tag> },
    {
      id: 'owner',
      header: 'Assigned to',
      cell: (n) =>
        n.owner ? (
          n.owner.kind === 'user' ? (
            <Link to="/c/$company/users/$user" params={{ company, user: n.owner.id }}>
              {n.owner.name || n.owner.id}
            </Link>
          ) : (
            <>
              {n.owner.name || n.owner.id} <span className="muted">{title(n.owner.kind)}</span>
            </>
          )
        ) : (
          <span className="none">nobody</span>
        ),
    },
    { id: 'area', header: 'Area code', numeric: true, cell: (n) => n.area_code || '–' },
    { id: 'prefix', header: 'Prefix', numeric: true, cell: (n) => n.prefix || '–' },
    { id: 'region', header: 'Region', cell: (n) => n.region || <span className="none">–</span> },
    {
      id: 'calls',
      header: 'Calls',
      cell: (n) => (
        <Link to="/c/$company/calls" params={{ company }} search={{ number: n.number }} aria-label={`Calls with ${phone(n.number)}`}>
          Calls
        </Link>
      ),
    },
  ];
  return (
    <div className="page">
      <h1>Numbers</h1>
      <Section heading="Numbers">
        <div className="filters">
          <TextFilter
            label="Full number, area code, prefix or suffix"
            value={search.q ?? ''}
            placeholder="+14155550101, 415, 555, 0101"
            onChange={(q) => set({ q: digits(q) })}
          />
          <Select label="DID type" value={search.type ?? ''} options={[['', 'Any'], ['local', 'Local'], ['toll_free', 'Toll free']]} onChange={(type) => set({ type })} />
          <Select
            label="Status"
            value={search.status ?? ''}
            options={[['', 'Any'], ...['available', 'user', 'department', 'office', 'room', 'contact_center', 'port_pending'].map((s): [string, string] => [s, title(s)])]}
            onChange={(status) => set({ status })}
          />
        </div>
        <List
          what="numbers"
          queryKey={['numbers', company, search]}
          load={(p, signal) => api.numbers(company, { ...search, ...p }, signal)}
          columns={columns}
          rowKey={(n) => n.number}
          empty={search.q || search.type || search.status ? 'No number matches.' : 'No numbers yet. Seed them from a file or add them over the API.'}
        />
      </Section>
    </div>
  );
}
