// How a device's registration fares, and when it held.
import { useMemo } from 'react';
import type { AppVersion, DeviceTimeline, Health, RegistrationChange, RegistrationSpan, Sentence } from '../api';
import { localTime, quantity, title, utc } from '../format';
import { axisTimes, eventMarks } from '../timeline';
import { type Column, DataTable } from './DataTable';
import { changeColumns } from './Registrations';
import { Empty, Moment, Tag } from './ui';

const tones: Record<string, 'ok' | 'warn' | 'alarm' | 'plain'> = {
  healthy: 'ok',
  flapping: 'warn',
  lapsed: 'alarm',
  failing_authentication: 'alarm',
};

const words: Record<string, string> = { push: 'By push', never_registered: 'Never registered', failing_authentication: 'Credentials refused' };

export const healthName = (state: string) => words[state] ?? title(state);

/** HealthTag says the state in a word; the first sentence shows on hover. */
export function HealthTag({ health }: { health?: Health | null }) {
  if (!health) return <span className="none">–</span>;
  return (
    <span title={health.sentences[0]?.text}>
      <Tag tone={tones[health.state] ?? 'plain'}>{healthName(health.state)}</Tag>
    </span>
  );
}

/** Sentences are what an engineer would tell, in that order. */
export function Sentences({ sentences }: { sentences: Sentence[] }) {
  return (
    <ol className="sentences">
      {sentences.map((s) => (
        <li key={`${s.kind} ${s.text}`}>
          <span className="muted small-text">{s.at ? <Moment at={s.at} /> : '24 h'}</span>
          <span>{s.text}</span>
        </li>
      ))}
    </ol>
  );
}

export const share = (n: number) => `${quantity(100 * n)}\u202f%`;

const versionColumns: Column<AppVersion>[] = [
  { id: 'app', header: 'App', lead: true, cell: (v) => <span className="strong">{v.app || 'unknown'}</span> },
  { id: 'version', header: 'Version', cell: (v) => v.app_version || <span className="none">–</span> },
  { id: 'first', header: 'First seen', cell: (v) => <Moment at={v.first_seen} /> },
  { id: 'last', header: 'Last seen', cell: (v) => <Moment at={v.last_seen} /> },
  { id: 'agent', header: 'User agent', cell: (v) => <span className="break">{v.user_agent}</span> },
];

export function Versions({ versions }: { versions: AppVersion[] }) {
  if (versions.length === 0) return <Empty>No version was seen in this time.</Empty>;
  return <DataTable label="Versions" rows={versions} columns={versionColumns} rowKey={(v) => `${v.app} ${v.app_version}`} />;
}

const spanColumns: Column<RegistrationSpan>[] = [
  { id: 'state', header: 'State', lead: true, cell: (s) => <Tag tone={s.state === 'registered' ? 'ok' : s.state === 'lapsed' ? 'alarm' : 'plain'}>{title(s.state)}</Tag> },
  { id: 'from', header: 'From', cell: (s) => <Moment at={s.from} /> },
  { id: 'to', header: 'To', cell: (s) => <Moment at={s.to} /> },
  { id: 'text', header: 'Why', cell: (s) => s.text },
];

/** Timeline is the strip of when a binding held with marks of what happened, and the same as tables. */
export function Timeline({ timeline: t }: { timeline: DeviceTimeline }) {
  const from = Date.parse(t.from);
  const to = Date.parse(t.to);
  const at = t.at ? (Date.parse(t.at.at) - from) / (to - from) : null;
  const marks = eventMarks(t.events, from, to);
  const eventColumns = useMemo(() => changeColumns().filter((c) => c.id !== 'aor' && c.id !== 'agent'), []);
  return (
    <>
      <div className="line" role="img" aria-label={`Registered ${share(t.registered_share)} of the time from ${localTime(t.from)} to ${localTime(t.to)}. The tables below tell each span and event.`}>
        <div className="strip">
          {t.spans.map((s) => (
            <span
              key={s.from}
              className={`strip-${s.state}`}
              style={{ flexGrow: Math.max(1, Date.parse(s.to) - Date.parse(s.from)) }}
              title={`${title(s.state)} ${localTime(s.from)} – ${localTime(s.to)}\n${s.text}`}
            />
          ))}
          {at === null ? null : <i className="line-at" style={{ left: `${100 * at}%` }} title={t.at!.text} />}
        </div>
        <div className="line-marks">
          {marks.map((m) => (
            <i key={`${m.at} ${m.kind}`} className={`mark mark-${m.kind}`} style={{ left: `${100 * m.at}%` }} title={m.title} />
          ))}
        </div>
        <div className="line-axis">
          {axisTimes(from, to).map((x) => (
            <time key={x.at} className={`num ${x.at < 0.06 ? 'line-first' : x.at > 0.94 ? 'line-last' : ''}`} style={{ left: `${100 * x.at}%` }} title={utc(new Date(x.ms).toISOString())}>
              {x.text}
            </time>
          ))}
        </div>
      </div>
      <p className="line-keys muted">
        <i className="strip-registered" /> registered <i className="strip-lapsed" /> lapsed <i className="strip-unregistered" /> unregistered <i className="strip-unknown" /> not yet seen
        <span className="line-key"><i className="mark mark-lapsed" /> lapse</span>
        <span className="line-key"><i className="mark mark-auth_failed" /> credentials refused</span>
        <span className="line-key"><i className="mark mark-source_changed" /> source changed</span>
        <span className="line-key"><i className="mark mark-flapping" /> flapping</span>
      </p>
      <details className="note" open={t.spans.length <= 8}>
        <summary>When it was registered, as a table ({t.spans.length})</summary>
        <DataTable label="Spans of registration" rows={t.spans} columns={spanColumns} rowKey={(s) => s.from} />
      </details>
      <details className="note">
        <summary>
          Events, as a table ({t.events.length}
          {t.events_left_out ? ', the newest' : ''})
        </summary>
        {t.events.length === 0 ? <Empty>Nothing but refreshes happened in this time.</Empty> : <DataTable label="Events" rows={newestFirst(t.events)} columns={eventColumns} rowKey={(e) => `${e.at} ${e.change}`} />}
      </details>
    </>
  );
}

const newestFirst = (events: RegistrationChange[]) => events.toReversed();
