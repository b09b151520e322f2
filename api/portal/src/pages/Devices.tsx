import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api } from '../api';
import { List } from '../components/List';
import { changeColumns, registrationColumns } from '../components/Registrations';
import { Choice, Section, Select, TextFilter, useTitle } from '../components/ui';

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
      <Section
        heading={history ? 'Changes, newest first' : 'Registrations'}
        aside={
          <Choice
            label="What to list"
            value={history ? 'history' : 'current'}
            options={[{ value: 'current', label: 'Current' }, { value: 'history', label: 'History' }]}
            onChange={(tab) => set({ tab: tab === 'history' ? tab : undefined, state: undefined })}
          />
        }
      >
        <div className="filters">
          {history ? null : (
            <Select
              label="State"
              value={search.state ?? ''}
              options={[['', 'Any'], ['registered', 'Registered'], ['lapsed', 'Lapsed'], ['unregistered', 'Unregistered'], ['failed', 'Failed']]}
              onChange={(state) => set({ state })}
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
            queryKey={['registrations', company, search.state, search.aor]}
            load={(p, signal) => api.registrations(company, { state: search.state, aor: search.aor, ...p }, signal)}
            columns={current}
            rowKey={(r) => `${r.aor} ${r.device_id}`}
            refreshMs={5000}
            empty={search.state || search.aor ? 'No registration matches.' : 'No device has registered yet.'}
          />
        )}
      </Section>
    </div>
  );
}
