import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, type User } from '../api';
import type { Column } from '../components/DataTable';
import { placeOptions, PlaceLink, usePlaces } from '../components/Directory';
import { Export } from '../components/Export';
import { List } from '../components/List';
import { Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { UserForm } from '../components/UserForm';
import type { PlaceKind } from '../directory';
import { phone, title } from '../format';
import { given } from '../urlstate';

const route = getRouteApi('/c/$company/users');

export const stateTone = (state: string) =>
  state === 'active' ? 'ok' : state === 'deleted' ? 'alarm' : state === 'pending' || state === 'invited' ? 'warn' : 'plain';

export const userColumns = (company: string): Column<User>[] => [
  {
    id: 'name',
    header: 'Name',
    lead: true,
    cell: (u) => (
      <Link to="/c/$company/users/$user" params={{ company, user: u.id }} className="strong">
        {u.name || u.id}
      </Link>
    ),
  },
  { id: 'number', header: 'Number', cell: (u) => (u.numbers?.length ? <span className="num">{u.numbers.map(phone).join(', ')}</span> : <span className="none">none</span>) },
  { id: 'state', header: 'State', cell: (u) => <Tag tone={stateTone(u.state)}>{title(u.state)}</Tag> },
  { id: 'app', header: 'App versions', cell: (u) => u.app_versions?.join(', ') || <span className="none">–</span> },
  { id: 'office', header: 'Office', cell: (u) => <PlaceLink company={company} kind="offices" id={u.office} /> },
  { id: 'email', header: 'Email', cell: (u) => <span className="break">{u.email || <span className="none">–</span>}</span> },
];

export function UsersPage() {
  useTitle('Users');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  const columns = useMemo(() => userColumns(company), [company]);
  const filtered = Object.keys(search).length > 0;
  return (
    <div className="page">
      <div className="title-row">
        <h1>Users</h1>
        <Tools company={company} filters={search} />
      </div>
      <Section heading="Users">
        <div className="filters">
          <TextFilter label="Name, email, number or id" value={search.q ?? ''} onChange={(q) => set({ q })} />
          <Select
            label="State"
            value={search.state ?? ''}
            onChange={(state) => set({ state })}
            options={[['', 'Any'], ['active', 'Active'], ['pending', 'Pending'], ['invited', 'Invited'], ['deleted', 'Deleted']]}
          />
          <PlaceFilter company={company} kind="offices" label="Office" value={search.office} onChange={(office) => set({ office })} />
          <PlaceFilter company={company} kind="departments" label="Department" value={search.department} onChange={(department) => set({ department })} />
          <PlaceFilter company={company} kind="contact-centers" label="Contact centre" value={search.contact_center} onChange={(contact_center) => set({ contact_center })} />
          <Versions company={company} value={search.app_version ?? ''} onChange={(v) => set({ app_version: v })} />
          {filtered ? (
            <button type="button" className="quiet" onClick={() => void navigate({ search: {}, replace: true })}>
              Clear
            </button>
          ) : null}
        </div>
        <List
          what="users"
          queryKey={['users', company, search]}
          load={(p, signal) => api.users(company, { ...search, ...p }, signal)}
          columns={columns}
          rowKey={(u) => u.id}
          empty={filtered ? 'No user matches these filters.' : 'No users yet. Add one, or add many from a CSV file.'}
        />
      </Section>
    </div>
  );
}

/** orUnlisted keeps a value of the address among the options although the list does not have it. */
const orUnlisted = (options: [string, string][], value: string | undefined): [string, string][] =>
  !value || options.some(([v]) => v === value) ? options : [...options, [value, value]];

/** PlaceFilter is not there where the company has no such place. */
function PlaceFilter({ company, kind, label, value, onChange }: { company: string; kind: PlaceKind; label: string; value: string | undefined; onChange: (id: string) => void }) {
  const places = usePlaces(company, kind);
  const options = orUnlisted(placeOptions(places.data?.items), value);
  if (options.length === 0) return null;
  return <Select label={label} value={value ?? ''} onChange={onChange} options={[['', 'Any'], ...options]} />;
}

/** Versions offers those that devices of the company run. */
function Versions({ company, value, onChange }: { company: string; value: string; onChange: (v: string) => void }) {
  const known = useQuery({ queryKey: ['registration-health', company], queryFn: ({ signal }) => api.registrationHealth(company, signal), staleTime: 30_000 });
  const options = (known.data?.versions ?? []).map((v) => [v.app, v.app_version].filter(Boolean).join(' ')).filter(Boolean);
  return <Select label="App version" value={value} onChange={onChange} options={[['', 'Any'], ...orUnlisted([...new Set(options)].map((o): [string, string] => [o, o]), value)]} />;
}

function Tools({ company, filters }: { company: string; filters: Record<string, string> }) {
  const [adding, setAdding] = useState(false);
  const navigate = useNavigate();
  return (
    <div className="actions">
      <button type="button" className="primary" onClick={() => setAdding(true)}>
        Add user
      </button>
      <Link to="/c/$company/offices" params={{ company }} className="button">
        Add users via CSV
      </Link>
      <Export company={company} route="users" filters={filters} what="users" />
      {adding ? (
        <UserForm
          company={company}
          office={filters.office}
          onClose={() => setAdding(false)}
          onDone={(u) => void navigate({ to: '/c/$company/users/$user', params: { company, user: u.id } })}
        />
      ) : null}
    </div>
  );
}
