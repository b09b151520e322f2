import { Link } from '@tanstack/react-router';
import { useId } from 'react';
import type { Registration, RegistrationChange } from '../api';
import { byDevice, segments } from '../bindings';
import { localTime, title, utc } from '../format';
import type { Column } from './DataTable';
import { HealthTag, share } from './Health';
import { Moment, Tag } from './ui';
import { Version } from './Version';

export function StateTag({ state, flapping }: { state: string; flapping?: boolean }) {
  const tone = state === 'registered' ? 'ok' : state === 'lapsed' || state === 'failed' ? 'alarm' : 'plain';
  return (
    <span className="flags">
      <Tag tone={tone}>{title(state)}</Tag>
      {flapping ? <Tag tone="warn">Flapping</Tag> : null}
    </span>
  );
}

export function registrationColumns(company: string, withUser: boolean): Column<Registration>[] {
  const columns: Column<Registration>[] = [
    { id: 'aor', header: 'Address of record', lead: true, cell: (r) => <span className="break strong">{r.aor}</span> },
    {
      id: 'health',
      header: 'Health',
      cell: (r) => (
        <Link to="/c/$company/devices/$device" params={{ company, device: r.device_id }} aria-label={`Timeline of ${r.aor}, ${r.user_agent || r.contact}`}>
          <HealthTag health={r.health} />
        </Link>
      ),
    },
    { id: 'share', header: '24 h', numeric: true, cell: (r) => (r.health ? share(r.health.registered_share_24h) : '–') },
    {
      id: 'user',
      header: 'User',
      cell: (r) =>
        r.user_id ? (
          <Link to="/c/$company/users/$user" params={{ company, user: r.user_id }} search={{ tab: 'registrations' }}>
            {r.user_name || r.user_id}
          </Link>
        ) : (
          <span className="none">nobody’s</span>
        ),
    },
    { id: 'version', header: 'Version', cell: (r) => <Version version={r.version || [r.app, r.app_version].filter(Boolean).join(' ')} outdated={r.outdated} latest={r.latest_version} /> },
    { id: 'since', header: 'Registered', cell: (r) => <Moment at={r.registered_at} /> },
    { id: 'expires', header: 'Expires', cell: (r) => <Moment at={r.expires_at} relative={r.registered} /> },
    { id: 'source', header: 'Source', cell: (r) => <span className="num break">{r.source || '–'}</span> },
    { id: 'agent', header: 'User agent', cell: (r) => <span className="break">{r.user_agent || <span className="none">–</span>}</span> },
    { id: 'contact', header: 'Contact', cell: (r) => <span className="break small-text">{r.contact || '–'}</span> },
  ];
  return withUser ? columns : columns.filter((c) => c.id !== 'user');
}

const changeTone = (c: RegistrationChange) => {
  switch (c.change) {
    case 'registered':
    case 'refreshed':
      return 'ok';
    case 'lapsed':
    case 'auth_failed':
    case 'rejected':
      return 'alarm';
    case 'flapping':
    case 'source_changed':
    case 'interval_too_brief':
      return 'warn';
    default:
      return 'plain';
  }
};

export function changeColumns(): Column<RegistrationChange>[] {
  return [
    { id: 'at', header: 'Time', lead: true, cell: (c) => <Moment at={c.at} /> },
    { id: 'change', header: 'Change', cell: (c) => <Tag tone={changeTone(c)}>{title(c.change)}</Tag> },
    { id: 'aor', header: 'Address of record', cell: (c) => <span className="break">{c.aor}</span> },
    { id: 'status', header: 'SIP', numeric: true, cell: (c) => c.sip_status || '–' },
    { id: 'expires', header: 'Expires', cell: (c) => <Moment at={c.expires_at} /> },
    { id: 'source', header: 'Source', cell: (c) => <span className="num break">{c.source || '–'}</span> },
    { id: 'agent', header: 'User agent', cell: (c) => <span className="break">{c.user_agent || '–'}</span> },
    { id: 'text', header: 'Remark', cell: (c) => c.text || <span className="none">–</span> },
  ];
}

/** Strips shows per device when its registration held, from its first known change until now. */
export function Strips({ changes, now }: { changes: RegistrationChange[]; now: number }) {
  const id = useId();
  if (changes.length === 0) return null;
  const times = changes.map((c) => Date.parse(c.at));
  const from = Math.min(...times);
  // An imported capture ended long ago: its strip ends with it, for nobody knows what came after.
  const to = changes.every((c) => c.timeline) ? Math.max(...times) : now;
  if (to <= from) return null;
  return (
    <div className="strips">
      {byDevice(changes).map(([device, own]) => {
        const parts = segments(own, from, to);
        const words = parts.map((p) => `${p.state} from ${localTime(new Date(p.from).toISOString())}`).join(', ');
        return (
          <div key={device} className="strip-row">
            <span className="strip-name" id={`${id}-${device}`}>
              {own[0]!.user_agent || own[0]!.aor}
            </span>
            <span className="strip" role="img" aria-label={`Registrations of ${own[0]!.user_agent || device}: ${words}`}>
              {parts.map((p) => (
                <span
                  key={p.from}
                  className={`strip-${p.state}`}
                  style={{ flexGrow: Math.max(1, p.to - p.from) }}
                  title={`${title(p.state)} ${localTime(new Date(p.from).toISOString())} – ${localTime(new Date(p.to).toISOString())}`}
                />
              ))}
            </span>
          </div>
        );
      })}
      <div className="strip-row strip-axis muted">
        <span />
        <span className="strip-times">
          <time title={utc(new Date(from).toISOString())}>{localTime(new Date(from).toISOString())}</time>
          <span className="strip-keys">
            <i className="strip-registered" /> registered <i className="strip-unregistered" /> unregistered <i className="strip-lapsed" /> lapsed
          </span>
          <time title={utc(new Date(to).toISOString())}>{localTime(new Date(to).toISOString())}</time>
        </span>
      </div>
    </div>
  );
}
