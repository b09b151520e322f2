import { getRouteApi, Link } from '@tanstack/react-router';
import { api, type User } from '../api';
import type { Column } from '../components/DataTable';
import { List } from '../components/List';
import { Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { phone, title } from '../format';

const route = getRouteApi('/c/$company/users');

export const stateTone = (state: string) =>
  state === 'active' ? 'ok' : state === 'deleted' ? 'alarm' : state === 'pending' || state === 'invited' ? 'warn' : 'plain';

export function UsersPage() {
  useTitle('Users');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => void navigate({ search: (s) => ({ ...s, ...change }), replace: true });
  const columns: Column<User>[] = [
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
    { id: 'office', header: 'Office', cell: (u) => u.office || <span className="none">–</span> },
    { id: 'email', header: 'Email', cell: (u) => <span className="break">{u.email || <span className="none">–</span>}</span> },
  ];
  return (
    <div className="page">
      <h1>Users</h1>
      <Section heading="Users">
        <div className="filters">
          <TextFilter label="Name, email, number or id" value={search.q ?? ''} onChange={(q) => set({ q: q || undefined })} />
          <Select
            label="State"
            value={search.state ?? ''}
            onChange={(state) => set({ state: state || undefined })}
            options={[['', 'Any'], ['active', 'Active'], ['pending', 'Pending'], ['invited', 'Invited'], ['deleted', 'Deleted']]}
          />
        </div>
        <List
          what="users"
          queryKey={['users', company, search]}
          load={(p, signal) => api.users(company, { ...search, ...p }, signal)}
          columns={columns}
          rowKey={(u) => u.id}
          empty={search.q || search.state ? 'No user matches these filters.' : 'No users yet. Seed them from a file or add them over the API.'}
        />
      </Section>
    </div>
  );
}
