import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, type Device } from '../api';
import { callColumns } from '../components/CallColumns';
import { type Column, DataTable } from '../components/DataTable';
import { List } from '../components/List';
import { HealthTag } from '../components/Health';
import { changeColumns, registrationColumns, Strips } from '../components/Registrations';
import { Choice, Copy, Empty, Facts, Failure, Id, Loading, Moment, Section, Tag, useTitle } from '../components/ui';
import { phone, title, words } from '../format';
import { stateTone } from './Users';

const route = getRouteApi('/c/$company/users/$user');
type Tab = 'devices' | 'registrations' | 'calls';

export function UserPage() {
  const { company, user } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const found = useQuery({ queryKey: ['user', company, user], queryFn: ({ signal }) => api.user(company, user, signal) });
  useTitle(found.data?.name || 'User');
  if (found.isPending) return <Loading what="the user" />;
  if (found.isError) return <Failure error={found.error} what="user" retry={() => void found.refetch()} />;
  const u = found.data;
  const tab: Tab = search.tab === 'registrations' || search.tab === 'calls' ? search.tab : 'devices';
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/users" params={{ company }}>
          Users
        </Link>
      </p>
      <h1>
        {u.name || u.id} <Tag tone={stateTone(u.state)}>{title(u.state)}</Tag>
      </h1>
      <Section heading="Profile">
        <Facts
          items={[
            ['User ID', <Id key="id" text={u.id} what="user id" />],
            [
              'Numbers',
              u.numbers?.length ? (
                <span key="numbers" className="stack">
                  {u.numbers.map((n) => (
                    <span key={n} className="id num">
                      <Link to="/c/$company/numbers" params={{ company }} search={{ q: n }}>
                        {phone(n)}
                      </Link>
                      <Copy text={n} what="number" />
                    </span>
                  ))}
                </span>
              ) : null,
            ],
            ['Email', u.email ? <span key="email" className="break">{u.email}</span> : null],
            ['SIP addresses', u.aors?.length ? <span key="aors" className="stack break">{u.aors.map((a) => <span key={a}>{a}</span>)}</span> : null],
            ['App versions', u.app_versions?.join(', ')],
            ['Office', u.office],
            ['Departments', u.departments?.join(', ')],
            ['Created', u.created_at ? <Moment key="c" at={u.created_at} full /> : null],
          ]}
        />
      </Section>
      <Choice<Tab>
        label="Of this user"
        value={tab}
        options={[{ value: 'devices', label: 'Devices' }, { value: 'registrations', label: 'Registrations' }, { value: 'calls', label: 'Calls' }]}
        onChange={(t) => void navigate({ search: { tab: t === 'devices' ? undefined : t }, replace: true })}
      />
      {tab === 'devices' ? <Devices company={company} user={user} /> : null}
      {tab === 'registrations' ? <Registrations company={company} user={user} /> : null}
      {tab === 'calls' ? <Calls company={company} user={user} /> : null}
    </div>
  );
}

const mobile = (d: Device) => d.endpoint === 'mobile' || /\b(ios|ipad|android)\b/i.test(d.platform ?? '');

const deviceColumns = (company: string): Column<Device>[] => [
  {
    id: 'app',
    header: 'App',
    lead: true,
    cell: (d) => {
      const name = <span className="strong">{d.app || title(d.endpoint) || 'unknown'}</span>;
      if (d.registered === null || d.registered === undefined) return name;
      return (
        <Link to="/c/$company/devices/$device" params={{ company, device: d.id }}>
          {name}
        </Link>
      );
    },
  },
  { id: 'endpoint', header: 'Kind', cell: (d) => (d.endpoint ? words(d.endpoint) : <span className="none">–</span>) },
  { id: 'platform', header: 'Platform', cell: (d) => d.platform || <span className="none">–</span> },
  { id: 'version', header: 'Version', cell: (d) => d.app_version || <span className="none">–</span> },
  { id: 'updated', header: 'Updated', cell: (d) => <Moment at={d.updated_at} relative /> },
  {
    id: 'registered',
    header: 'Registered',
    cell: (d) =>
      mobile(d) && !d.registered_at ? (
        <span className="muted">by push: no timestamp</span>
      ) : d.registered === null || d.registered === undefined ? (
        <span className="none">never by SIP</span>
      ) : (
        <span className="flags">
          <HealthTag health={d.health} />
          {d.registered_at ? <Moment at={d.registered_at} /> : null}
        </span>
      ),
  },
  { id: 'expires', header: 'Expires', cell: (d) => <Moment at={d.expires_at} relative={!!d.registered} /> },
  { id: 'source', header: 'Source', cell: (d) => <span className="num break">{d.source || '–'}</span> },
  { id: 'agent', header: 'User agent', cell: (d) => <span className="break">{d.user_agent || <span className="none">–</span>}</span> },
  {
    id: 'id',
    header: 'Device ID',
    cell: (d) => (
      <span className="id">
        <code className="short-id" title={d.id}>
          {d.id}
        </code>
        <Copy text={d.id} what="device id" />
      </span>
    ),
  },
];

function Devices({ company, user }: { company: string; user: string }) {
  const columns = useMemo(() => deviceColumns(company), [company]);
  const devices = useQuery({
    queryKey: ['devices', company, user],
    queryFn: ({ signal }) => api.userDevices(company, user, signal),
    refetchInterval: 5000,
  });
  return (
    <Section heading="User devices" count={devices.data?.items.length}>
      {devices.isPending ? <Loading what="devices" /> : null}
      {devices.isError ? <Failure error={devices.error} what="devices" retry={() => void devices.refetch()} /> : null}
      {devices.data?.items.length === 0 ? <Empty>This user has neither registered a device nor called from one.</Empty> : null}
      {devices.data?.items.length ? <DataTable label="User devices" rows={devices.data.items} columns={columns} rowKey={(d) => `${d.id} ${d.aor}`} /> : null}
      <details className="note">
        <summary>What the kinds of app mean</summary>
        <dl className="glossary">
          <dt>native</dt>
          <dd>desktop app for Mac or Windows</dd>
          <dt>packaged_app</dt>
          <dd>Chrome app</dd>
          <dt>web or harness</dt>
          <dd>the app in a browser</dd>
          <dt>mobile</dt>
          <dd>iOS, iPad and Android apps register by push: no registration timestamp is not a fault</dd>
          <dt>desk phone, sip</dt>
          <dd>a phone or program that registers by SIP</dd>
        </dl>
      </details>
    </Section>
  );
}

function Registrations({ company, user }: { company: string; user: string }) {
  const columns = useMemo(() => registrationColumns(company, false), [company]);
  const changes = useMemo(() => changeColumns(), []);
  const history = useQuery({
    queryKey: ['user-strip', company, user],
    queryFn: async ({ signal }) => ({ page: await api.userHistory(company, user, { limit: 500 }, signal), at: Date.now() }),
    refetchInterval: 5000,
  });
  return (
    <>
      <Section heading="Current bindings">
        <List
          what="registrations"
          queryKey={['user-registrations', company, user]}
          load={(p, signal) => api.userRegistrations(company, user, p, signal)}
          columns={columns}
          rowKey={(r) => `${r.aor} ${r.device_id}`}
          refreshMs={5000}
          empty="No device of this user has registered."
        />
      </Section>
      <Section heading="Timeline">
        {history.data ? <Strips changes={history.data.page.items} now={history.data.at} /> : null}
        <List
          what="registration changes"
          queryKey={['user-history', company, user]}
          load={(p, signal) => api.userHistory(company, user, p, signal)}
          columns={changes}
          rowKey={(c) => `${c.at} ${c.device_id} ${c.change}`}
          refreshMs={5000}
          empty="No registration of this user was seen."
        />
      </Section>
    </>
  );
}

function Calls({ company, user }: { company: string; user: string }) {
  const columns = useMemo(() => callColumns(company), [company]);
  return (
    <Section
      heading="Calls"
      aside={
        <Link to="/c/$company/calls" params={{ company }} search={{ user }}>
          With filters
        </Link>
      }
    >
      <List
        what="calls"
        queryKey={['user-calls', company, user]}
        load={(p, signal) => api.calls(company, { user, ...p }, signal)}
        columns={columns}
        rowKey={(c) => c.id}
        refreshMs={5000}
        empty="No call of this user was seen."
      />
    </Section>
  );
}
