import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, type RegistrationHealth } from '../api';
import { appKindName, appKinds } from '../appkinds';
import { type Column, DataTable } from '../components/DataTable';
import { AppKind } from '../components/Directory';
import { healthName } from '../components/Health';
import { List } from '../components/List';
import { changeColumns, registrationColumns } from '../components/Registrations';
import { Releases } from '../components/Releases';
import { Choice, Failure, Moment, Section, Select, TextFilter, useTitle } from '../components/ui';
import { nameOf, Registered, versionOf } from '../components/UserDevices';
import { Version } from '../components/Version';
import { directory, type UserDevice } from '../directory';
import { given } from '../urlstate';

const route = getRouteApi('/c/$company/devices');

const tabs = [
  { value: 'current', label: 'Registrations' },
  { value: 'devices', label: 'All devices' },
  { value: 'history', label: 'History' },
  { value: 'versions', label: 'Latest versions' },
] as const;
type Tab = (typeof tabs)[number]['value'];

export function DevicesPage() {
  useTitle('Devices and registrations');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const tab: Tab = tabs.find((t) => t.value === search.tab)?.value ?? 'current';
  return (
    <div className="page">
      <h1>Devices and registrations</h1>
      <Choice<Tab> label="What to list" value={tab} options={[...tabs]} onChange={(t) => void navigate({ search: { tab: t === 'current' ? undefined : t }, replace: true })} />
      {tab === 'current' ? <Current company={company} /> : null}
      {tab === 'devices' ? <AllDevices company={company} /> : null}
      {tab === 'history' ? <History company={company} /> : null}
      {tab === 'versions' ? <Releases company={company} /> : null}
    </div>
  );
}

/** useFilters are those of the address and the way to change them. */
function useFilters() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  return { search, set };
}

function Current({ company }: { company: string }) {
  const { search, set } = useFilters();
  const columns = useMemo(() => registrationColumns(company, true), [company]);
  return (
    <>
      <Summary company={company} chosen={search.health ?? ''} onChoose={(chosen) => set({ health: chosen })} />
      <Section heading="Registrations">
        <div className="filters">
          <Select
            label="Health"
            value={search.health ?? ''}
            options={[['', 'Any'], ...states.map((s): [string, string] => [s, healthName(s)])]}
            onChange={(chosen) => set({ health: chosen })}
          />
          <TextFilter label="Address of record" value={search.aor ?? ''} placeholder="user@domain" onChange={(aor) => set({ aor: aor.trim() })} />
        </div>
        <List
          what="registrations"
          queryKey={['registrations', company, search.state, search.health, search.aor]}
          load={(p, signal) => api.registrations(company, { state: search.state, health: search.health, aor: search.aor, ...p }, signal)}
          columns={columns}
          rowKey={(r) => `${r.aor} ${r.device_id}`}
          refreshMs={5000}
          empty={search.state || search.health || search.aor ? 'No registration matches.' : 'No device has registered yet.'}
        />
      </Section>
    </>
  );
}

function History({ company }: { company: string }) {
  const { search, set } = useFilters();
  const columns = useMemo(() => changeColumns(), []);
  return (
    <Section heading="Changes, newest first">
      <div className="filters">
        <TextFilter label="Address of record" value={search.aor ?? ''} placeholder="user@domain" onChange={(aor) => set({ aor: aor.trim() })} />
      </div>
      <List
        what="registration changes"
        queryKey={['history', company, search.aor]}
        load={(p, signal) => api.history(company, { aor: search.aor, ...p }, signal)}
        columns={columns}
        rowKey={(c) => `${c.at} ${c.device_id} ${c.change}`}
        refreshMs={5000}
        empty="No registration was seen yet."
      />
    </Section>
  );
}

const deviceColumns = (company: string): Column<UserDevice>[] => [
  {
    id: 'device',
    header: 'Device',
    lead: true,
    cell: (d) =>
      d.registered === null || d.registered === undefined ? (
        <span className="strong">{nameOf(d)}</span>
      ) : (
        <Link to="/c/$company/devices/$device" params={{ company, device: d.id }} className="strong">
          {nameOf(d)}
        </Link>
      ),
  },
  {
    id: 'user',
    header: 'User',
    cell: (d) =>
      d.user_id ? (
        <Link to="/c/$company/users/$user" params={{ company, user: d.user_id }}>
          {d.user_name || d.user_id}
        </Link>
      ) : (
        <span className="none">nobody’s</span>
      ),
  },
  { id: 'kind', header: 'App', cell: (d) => <AppKind kind={d.app_kind || d.endpoint} /> },
  { id: 'platform', header: 'Platform', cell: (d) => d.platform || <span className="none">–</span> },
  { id: 'version', header: 'Version', cell: (d) => <Version version={versionOf(d)} outdated={d.outdated} latest={d.latest_version} /> },
  { id: 'updated', header: 'Version updated', cell: (d) => <Moment at={d.version_updated_at} /> },
  { id: 'registered', header: 'Registered', cell: (d) => <Registered of={d} /> },
];

/** AllDevices are what users registered or called with, the outdated ones marked. */
function AllDevices({ company }: { company: string }) {
  const { search, set } = useFilters();
  const columns = useMemo(() => deviceColumns(company), [company]);
  const filters = { q: search.q, app_kind: search.app_kind, outdated: search.outdated };
  return (
    <Section heading="Devices">
      <div className="filters">
        <TextFilter label="User, device or address" value={search.q ?? ''} onChange={(q) => set({ q: q.trim() })} />
        <Select label="App" value={search.app_kind ?? ''} options={[['', 'Any'], ...appKinds.map((k): [string, string] => [k, appKindName(k)])]} onChange={(kind) => set({ app_kind: kind })} />
        <Select label="Version" value={search.outdated ?? ''} options={[['', 'Any'], ['true', 'Outdated']]} onChange={(outdated) => set({ outdated })} />
      </div>
      <List
        what="devices"
        queryKey={['devices', company, 'all', filters]}
        load={(p, signal) => directory.companyDevices(company, { ...filters, ...p }, signal)}
        columns={columns}
        rowKey={(d) => `${d.user_id} ${d.id} ${d.aor}`}
        refreshMs={10_000}
        empty={search.q || search.app_kind || search.outdated ? 'No device matches.' : 'No device was seen yet.'}
      />
    </Section>
  );
}

const states = ['healthy', 'flapping', 'failing_authentication', 'lapsed', 'unregistered', 'never_registered', 'push'];

const inUse: Column<RegistrationHealth['versions'][number]>[] = [
  { id: 'app', header: 'App', lead: true, cell: (v) => <span className="strong">{v.app || 'unknown'}</span> },
  { id: 'version', header: 'Version', cell: (v) => v.app_version || <span className="none">–</span> },
  { id: 'devices', header: 'Devices', numeric: true, cell: (v) => v.devices },
  { id: 'registered', header: 'Registered now', numeric: true, cell: (v) => v.registered },
  { id: 'last', header: 'Last seen', cell: (v) => <Moment at={v.last_seen} /> },
];

/** Summary counts a company's devices by health and by version; a count chooses what is listed below. */
function Summary({ company, chosen, onChoose }: { company: string; chosen: string; onChoose: (state: string) => void }) {
  const found = useQuery({ queryKey: ['registration-health', company], queryFn: ({ signal }) => api.registrationHealth(company, signal), refetchInterval: 10_000 });
  if (found.isError) return <Failure error={found.error} what="the health of registrations" retry={() => void found.refetch()} />;
  if (!found.data || found.data.devices === 0) return null;
  const h = found.data;
  return (
    <Section heading="Health" count={h.devices}>
      <div className="tallies" role="group" aria-label="Devices by health">
        {states
          .filter((s) => h.states[s])
          .map((s) => (
            <button key={s} type="button" className={`tally tally-${s}`} aria-pressed={chosen === s} onClick={() => onChoose(chosen === s ? '' : s)}>
              <b className="num">{h.states[s]}</b> {healthName(s)}
            </button>
          ))}
      </div>
      <details className="note">
        <summary>Versions in use ({h.versions.length})</summary>
        <DataTable label="Versions in use" rows={h.versions} columns={inUse} rowKey={(v) => `${v.app} ${v.app_version}`} />
      </details>
    </Section>
  );
}
