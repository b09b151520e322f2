import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, type RegistrationHealth } from '../api';
import { type Column, DataTable } from '../components/DataTable';
import { healthName } from '../components/Health';
import { List } from '../components/List';
import { changeColumns, registrationColumns } from '../components/Registrations';
import { Choice, Failure, Moment, Section, Select, TextFilter, useTitle } from '../components/ui';

const route = getRouteApi('/c/$company/devices');

export function DevicesPage() {
  useTitle('Devices and registrations');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => {
    const clean = Object.fromEntries(Object.entries(change).map(([k, v]) => [k, v || undefined]));
    void navigate({ search: (s) => ({ ...s, ...clean }), replace: true });
  };
  const current = useMemo(() => registrationColumns(company, true), [company]);
  const changes = useMemo(() => changeColumns(), []);
  const history = search.tab === 'history';
  return (
    <div className="page">
      <h1>Devices and registrations</h1>
      {history ? null : <Summary company={company} chosen={search.health ?? ''} onChoose={(chosen) => set({ health: chosen })} />}
      <Section
        heading={history ? 'Changes, newest first' : 'Registrations'}
        aside={
          <Choice
            label="What to list"
            value={history ? 'history' : 'current'}
            options={[{ value: 'current', label: 'Current' }, { value: 'history', label: 'History' }]}
            onChange={(tab) => set({ tab: tab === 'history' ? tab : undefined, state: undefined, health: undefined })}
          />
        }
      >
        <div className="filters">
          {history ? null : (
            <Select
              label="Health"
              value={search.health ?? ''}
              options={[['', 'Any'], ...states.map((s): [string, string] => [s, healthName(s)])]}
              onChange={(chosen) => set({ health: chosen })}
            />
          )}
          <TextFilter label="Address of record" value={search.aor ?? ''} placeholder="user@domain" onChange={(aor) => set({ aor: aor.trim() })} />
        </div>
        {history ? (
          <List
            what="registration changes"
            queryKey={['history', company, search.aor]}
            load={(p, signal) => api.history(company, { aor: search.aor, ...p }, signal)}
            columns={changes}
            rowKey={(c) => `${c.at} ${c.device_id} ${c.change}`}
            refreshMs={5000}
            empty="No registration was seen yet."
          />
        ) : (
          <List
            what="registrations"
            queryKey={['registrations', company, search.state, search.health, search.aor]}
            load={(p, signal) => api.registrations(company, { state: search.state, health: search.health, aor: search.aor, ...p }, signal)}
            columns={current}
            rowKey={(r) => `${r.aor} ${r.device_id}`}
            refreshMs={5000}
            empty={search.state || search.health || search.aor ? 'No registration matches.' : 'No device has registered yet.'}
          />
        )}
      </Section>
    </div>
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
