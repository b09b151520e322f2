import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { api } from '../api';
import { tally } from '../bands';
import { callColumns } from '../components/CallColumns';
import { DataTable } from '../components/DataTable';
import { ExperimentList } from '../components/Experiments';
import { BandBadge, Empty, Failure, Loading, Section, Tag, useTitle } from '../components/ui';
import { count } from '../format';

const route = getRouteApi('/c/$company/');
const refreshMs = 5000;

/** quick are the ways from here to everything of a company that has no count above. */
const quick = [
  { to: '/c/$company/offices', label: 'Offices' },
  { to: '/c/$company/departments', label: 'Departments' },
  { to: '/c/$company/rooms', label: 'Rooms' },
  { to: '/c/$company/contact-centers', label: 'Contact centres' },
  { to: '/c/$company/ports', label: 'Port requests' },
  { to: '/c/$company/ratings', label: 'Call ratings' },
  { to: '/c/$company/events', label: 'Call events' },
  { to: '/c/$company/settings/recording', label: 'Call recording' },
  { to: '/c/$company/settings/subscriptions', label: 'Subscriptions' },
  { to: '/c/$company/settings/audit', label: 'Audit log' },
] as const;

export function CompanyPage() {
  const { company } = route.useParams();
  const found = useQuery({ queryKey: ['company', company], queryFn: ({ signal }) => api.company(company, signal), refetchInterval: refreshMs });
  const recent = useQuery({
    queryKey: ['calls', company, 'recent'],
    queryFn: ({ signal }) => api.calls(company, { limit: 100 }, signal),
    refetchInterval: refreshMs,
  });
  useTitle(found.data?.name || company);
  if (found.isPending) return <Loading what="the company" />;
  if (found.isError) return <Failure error={found.error} what="company" retry={() => void found.refetch()} />;
  const n = found.data.counts ?? {};
  const calls = recent.data?.items ?? [];
  const live = calls.filter((c) => c.state === 'live');
  const troubled = calls.filter((c) => c.state === 'ended' && (c.verdict?.overall === 'bad' || c.verdict?.overall === 'unacceptable')).slice(0, 8);
  const shares = tally(calls.filter((c) => c.state === 'ended'));
  const judged = shares.reduce((sum, s) => sum + s.count, 0);
  const columns = callColumns(company);
  return (
    <div className="page">
      <h1>{found.data.name || company}</h1>
      <nav className="tiles" aria-label="Quick links">
        <Tile value={n.live_calls} live={!!n.live_calls}>
          <Link to="/c/$company/calls" params={{ company }} search={{ state: 'live' }}>
            Calls running now
          </Link>
        </Tile>
        <Tile value={n.calls_today}>
          <Link to="/c/$company/calls" params={{ company }}>
            Calls today
          </Link>
        </Tile>
        <Tile value={n.rejections_today}>
          <Link to="/c/$company/rejections" params={{ company }}>
            Rejections today
          </Link>
        </Tile>
        <Tile value={n.registered} of={n.devices}>
          <Link to="/c/$company/devices" params={{ company }} search={{ state: 'registered' }}>
            Devices registered
          </Link>
        </Tile>
        <Tile value={n.users}>
          <Link to="/c/$company/users" params={{ company }}>
            Users
          </Link>
        </Tile>
        <Tile value={n.numbers}>
          <Link to="/c/$company/numbers" params={{ company }}>
            Numbers
          </Link>
        </Tile>
      </nav>
      <nav className="quick" aria-label="People, places and settings">
        {quick.map((q) => (
          <Link key={q.to} to={q.to} params={{ company }}>
            {q.label}
          </Link>
        ))}
      </nav>

      <Section heading="Health" aside={<span className="muted">last {judged} answered calls</span>}>
        {recent.isPending ? <Loading what="calls" /> : null}
        {recent.isError ? <Failure error={recent.error} what="calls" retry={() => void recent.refetch()} /> : null}
        {recent.isSuccess && judged === 0 ? (
          <Empty>No answered call has ended yet. Point a capture agent, a phone or an app at Earshot, or import a capture.</Empty>
        ) : null}
        {judged > 0 ? (
          <>
            <div className="share" aria-hidden="true">
              {shares.map((s) => (
                <span key={s.band} className={`fill-${s.band}`} style={{ flexGrow: s.count }} />
              ))}
            </div>
            <ul className="share-keys">
              {shares.map((s) => (
                <li key={s.band}>
                  <Link to="/c/$company/calls" params={{ company }} search={{ verdict: s.band }}>
                    <BandBadge band={s.band} />
                  </Link>{' '}
                  <b className="num">{s.count}</b> <span className="muted num">{Math.round((100 * s.count) / judged)} %</span>
                </li>
              ))}
            </ul>
          </>
        ) : null}
      </Section>

      {live.length > 0 ? (
        <Section heading="Live calls" count={live.length} aside={<Tag tone="live">Live</Tag>}>
          <DataTable label="Live calls" rows={live.slice(0, 10)} columns={columns} rowKey={(c) => c.id} />
        </Section>
      ) : null}

      <Section
        heading="Latest calls with trouble"
        aside={
          <Link to="/c/$company/calls" params={{ company }}>
            All calls
          </Link>
        }
      >
        {recent.isPending ? <Loading what="calls" /> : null}
        {recent.isSuccess && troubled.length === 0 ? <Empty>None of the last {calls.length} calls was judged bad or unacceptable.</Empty> : null}
        {troubled.length > 0 ? <DataTable label="Latest calls with trouble" rows={troubled} columns={columns} rowKey={(c) => c.id} /> : null}
      </Section>

      <ExperimentList company={company} />
    </div>
  );
}

/** Tile is a count that is also the way to what was counted. */
function Tile({ value, of, live, children }: { value?: number | null; of?: number | null; live?: boolean; children: ReactNode }) {
  return (
    <div className={`tile ${live ? 'tile-live' : ''}`}>
      <b>
        {count(value)}
        {of !== undefined && of !== null ? <small> of {count(of)}</small> : null}
      </b>
      {children}
    </div>
  );
}
