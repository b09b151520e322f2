import { getRouteApi } from '@tanstack/react-router';
import type { Column } from '../components/DataTable';
import { List } from '../components/List';
import { Changes } from '../components/Notes';
import { Moment, Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { title, words } from '../format';
import { type AuditEntry, deed, settings } from '../settings';
import { given, rangeOptions, span } from '../urlstate';

const route = getRouteApi('/c/$company/settings/audit');

const kinds = ['company', 'user', 'number', 'device', 'credential', 'office', 'department', 'room', 'contact_center', 'port_request', 'experiment', 'recording', 'subscription', 'proxy_session', 'call', 'snapshot', 'export'];

const columns: Column<AuditEntry>[] = [
  { id: 'at', header: 'Time', lead: true, cell: (e) => <Moment at={e.at} full /> },
  {
    id: 'actor',
    header: 'Who',
    cell: (e) => (
      <span className="flags">
        {e.actor.name || e.actor.id} {e.proxy_session ? <Tag tone="warn">acting for a user</Tag> : null}
      </span>
    ),
  },
  {
    id: 'action',
    header: 'Did',
    cell: (e) => (
      <span>
        {deed(e.action)}
        {e.count && e.count > 1 ? <span className="muted"> {e.count} times</span> : null}
      </span>
    ),
  },
  {
    id: 'subject',
    header: 'To',
    cell: (e) => (
      <span className="break">
        <span className="muted">{words(e.subject.kind)}</span> {e.subject.id}
      </span>
    ),
  },
  {
    id: 'changes',
    header: 'Change',
    cell: (e) => (
      <>
        {e.text ? <p className="break">{e.text}</p> : null}
        <Changes changes={e.changes} />
        {!e.text && e.changes.length === 0 ? <span className="none">–</span> : null}
      </>
    ),
  },
];

/** AuditPage says who did and who read what. */
export function AuditPage() {
  useTitle('Audit log');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { range = '7d', ...filter } = search;
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  return (
    <div className="page">
      <h1>Audit log</h1>
      <Section heading="Who did and who read what, the newest first">
        <div className="filters">
          <Select label="Time" value={range} options={rangeOptions} onChange={(r) => set({ range: r === '7d' ? undefined : r })} />
          <TextFilter label="Who" value={search.actor ?? ''} placeholder="Name or id" onChange={(actor) => set({ actor: actor.trim() })} />
          <Select label="Of" value={search.kind ?? ''} options={[['', 'Anything'], ...kinds.map((k): [string, string] => [k, title(k)])]} onChange={(kind) => set({ kind })} />
          <TextFilter label="Its id" value={search.id ?? ''} onChange={(id) => set({ id: id.trim() })} />
          <Select label="Action" value={search.action ?? ''} options={[['', 'Any'], ['read', 'Read'], ...(search.action && search.action !== 'read' ? [[search.action, search.action] as [string, string]] : [])]} onChange={(action) => set({ action })} />
        </div>
        <List
          what="audit log"
          queryKey={['audit', company, search]}
          load={(p, signal) => settings.audit(company, { ...filter, ...span({ range }, '7d', Date.now()), ...p }, signal)}
          columns={columns}
          rowKey={(e) => e.id}
          refreshMs={15_000}
          empty="Nothing was done or read in this time."
        />
      </Section>
    </div>
  );
}
