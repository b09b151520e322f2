import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { api } from '../api';
import { HealthTag, Sentences, share, Timeline, Versions } from '../components/Health';
import { StateTag } from '../components/Registrations';
import { Choice, Facts, Failure, Id, Loading, Moment, Section, useTitle } from '../components/ui';
import { words } from '../format';

const route = getRouteApi('/c/$company/devices/$device');

/** DevicePage answers how a device's registration fares, and whether it was registered at a time. */
export function DevicePage() {
  const { company, device } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const week = search.range === '7d';
  const found = useQuery({
    queryKey: ['device', company, device, search.range, search.at],
    queryFn: ({ signal }) => api.deviceTimeline(company, device, asked(search.range, search.at), signal),
    refetchInterval: search.at ? false : 10_000,
    placeholderData: keepPreviousData,
  });
  useTitle(found.data?.device.aor || 'Device');
  if (found.isPending) return <Loading what="the device" />;
  if (found.isError && !found.data) return <Failure error={found.error} what="device" retry={() => void found.refetch()} />;
  const t = found.data!;
  const d = t.device;
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/devices" params={{ company }}>
          Devices
        </Link>
      </p>
      <h1 className="break">
        {d.aor} <HealthTag health={d.health} />
      </h1>
      <Section heading="Device">
        <Facts
          items={[
            ['App', [d.app, d.app_version].filter(Boolean).join(' ')],
            ['Kind', [words(d.endpoint), d.platform].filter(Boolean).join(', ')],
            ['User', d.user_id ? <Link key="u" to="/c/$company/users/$user" params={{ company, user: d.user_id }}>{d.user_name || d.user_id}</Link> : null],
            ['State', <StateTag key="s" state={d.state} />],
            ['Registered', d.registered_at ? <Moment key="r" at={d.registered_at} /> : null],
            ['Expires', d.expires_at ? <Moment key="e" at={d.expires_at} relative /> : null],
            ['Source', d.source ? <span key="src" className="num break">{d.source}</span> : null],
            ['Contact', d.contact ? <span key="c" className="break">{d.contact}</span> : null],
            ['User agent', d.user_agent ? <span key="a" className="break">{d.user_agent}</span> : null],
            ['Device ID', <Id key="id" text={d.device_id} what="device id" />],
          ]}
        />
      </Section>
      {d.health ? (
        <Section heading="How it fares">
          <Sentences sentences={d.health.sentences} />
        </Section>
      ) : null}
      <Section
        heading={`Registered ${share(t.registered_share)} of the time`}
        aside={
          <Choice
            label="Time shown"
            value={search.at ? '' : week ? '7d' : '24h'}
            options={[{ value: '24h', label: '24 h' }, { value: '7d', label: '7 days' }]}
            onChange={(range) => void navigate({ search: { range: range === '7d' ? range : undefined }, replace: true })}
          />
        }
      >
        <At key={search.at} value={search.at} onAsk={(at) => void navigate({ search: { at }, replace: true })} />
        {found.isError ? <Failure error={found.error} what="the timeline" /> : null}
        {t.at ? (
          <p className="answer" role="status">
            {t.at.text}
          </p>
        ) : null}
        <Timeline timeline={t} />
      </Section>
      <Section heading="Versions in this time">
        <Versions versions={t.versions} />
      </Section>
    </div>
  );
}

function asked(range: string | undefined, at: string | undefined) {
  if (at) return { at };
  return range === '7d' ? { from: new Date(Date.now() - 7 * 86_400_000).toISOString() } : {};
}

/** At asks for a moment in the viewer's zone; the address keeps it in UTC. */
function At({ value, onAsk }: { value?: string; onAsk: (at: string | undefined) => void }) {
  const [text, setText] = useState(value ? local(value) : '');
  return (
    <form
      className="filters"
      onSubmit={(e) => {
        e.preventDefault();
        onAsk(text ? new Date(text).toISOString() : undefined);
      }}
    >
      <label className="field">
        <span>Was it registered at</span>
        <input type="datetime-local" step="1" value={text} onChange={(e) => setText(e.target.value)} />
      </label>
      <button type="submit" disabled={!text && !value}>
        Ask
      </button>
    </form>
  );
}

/** local writes a time as an input of type datetime-local takes it. */
function local(at: string): string {
  const d = new Date(at);
  return new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
