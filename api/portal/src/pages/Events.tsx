import { getRouteApi, Link } from '@tanstack/react-router';
import { eventColumns } from '../components/CallEvents';
import { List } from '../components/List';
import { Section, Select, useTitle } from '../components/ui';
import { title } from '../format';
import { eventTypes, settings } from '../settings';
import { given, rangeOptions, span } from '../urlstate';

const route = getRouteApi('/c/$company/events');

/** EventsPage lists what happened in the calls of a company, the newest first. */
export function EventsPage() {
  useTitle('Call events');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { range = '24h', ...filter } = search;
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  return (
    <div className="page">
      <h1>Call events</h1>
      <p className="muted">
        The moments in the life of each call. Programs get them by{' '}
        <Link to="/c/$company/settings/subscriptions" params={{ company }}>
          subscription
        </Link>
        ; why calls were refused, over time, stands under{' '}
        <Link to="/c/$company/rejections" params={{ company }}>
          Rejections
        </Link>
        .
      </p>
      <Section heading="Events, the newest first">
        <div className="filters">
          <Select label="Event" value={search.type ?? ''} options={[['', 'Any'], ...eventTypes.map((t): [string, string] => [t, title(t)])]} onChange={(type) => set({ type })} />
          <Select label="Time" value={range} options={rangeOptions} onChange={(r) => set({ range: r === '24h' ? undefined : r })} />
          {(['user', 'office', 'department', 'contact_center'] as const)
            .filter((f) => search[f])
            .map((f) => (
              <button key={f} type="button" className="quiet" onClick={() => set({ [f]: undefined })}>
                {title(f)}: {search[f]} ✕
              </button>
            ))}
        </div>
        <List
          what="call events"
          queryKey={['events', company, search]}
          load={(p, signal) => settings.events(company, { ...filter, ...span({ range }, '24h', Date.now()), ...p }, signal)}
          columns={eventColumns(company, true)}
          rowKey={(e) => e.id}
          refreshMs={5000}
          empty="Nothing happened in this time."
        />
      </Section>
    </div>
  );
}
