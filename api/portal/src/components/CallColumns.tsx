import { Link } from '@tanstack/react-router';
import type { Call, Party } from '../api';
import { answer } from '../bands';
import { duration, phone, quantity, title } from '../format';
import type { Column } from './DataTable';
import { BandBadge, Moment, Tag } from './ui';

/** PartyName is who somebody is, in one line. */
export function PartyName({ party, company }: { party: Party; company: string }) {
  const name = party.name || party.user_id;
  if (!name) return <span className="num">{phone(party.number) || <span className="none">unknown</span>}</span>;
  if (!party.user_id) return name;
  return (
    <Link to="/c/$company/users/$user" params={{ company, user: party.user_id }}>
      {name}
    </Link>
  );
}

/** PartyCell is who somebody is, with the number below. */
export function PartyCell({ party, company }: { party: Party; company: string }) {
  const number = phone(party.number);
  const name = party.name || party.user_id;
  return (
    <span className="party">
      <PartyName party={party} company={company} />
      {name && number && number !== name ? <span className="muted num">{number}</span> : null}
    </span>
  );
}

/** CallLink goes to a call by its id. */
export function CallLink({ company, call }: { company: string; call: string }) {
  return (
    <Link to="/c/$company/calls/$call" params={{ company, call }} className="short-id" title={call}>
      {call}
    </Link>
  );
}

/** CallFlags are what a reader of a list must not miss about a call. */
export function CallFlags({ call }: { call: Call }) {
  const one = call.verdict?.one_way_audio;
  return (
    <>
      {call.state === 'live' ? <Tag tone="live">Live</Tag> : null}
      {one?.state === 'confirmed' ? <Tag tone="alarm">{one.direction === 'both' ? 'No audio' : 'One-way'}</Tag> : null}
      {one?.state === 'suspected' ? <Tag tone="warn">{one.direction === 'both' ? 'No audio?' : 'One-way?'}</Tag> : null}
      {call.rejections?.length ? <Tag tone="warn">{title(call.rejections[0]!.reason)}</Tag> : null}
      {call.ratings?.length ? <Tag>{'★'.repeat(Math.min(5, call.ratings[0]!.rating))}</Tag> : null}
    </>
  );
}

export function callColumns(company: string): Column<Call>[] {
  return [
    {
      id: 'started',
      header: 'Started',
      lead: true,
      cell: (c) => (
        <Link to="/c/$company/calls/$call" params={{ company, call: c.id }} className="strong">
          <Moment at={c.started_at} />
        </Link>
      ),
    },
    {
      id: 'verdict',
      header: 'Verdict',
      cell: (c) => (
        <span className="flags">
          {answer(c) === 'answered' ? <BandBadge band={c.verdict?.overall ?? 'unknown'} /> : <BandBadge band="unknown">{title(answer(c))}</BandBadge>}
          <CallFlags call={c} />
        </span>
      ),
    },
    { id: 'direction', header: 'Direction', cell: (c) => title(c.direction) },
    { id: 'target', header: 'Target', cell: (c) => <PartyCell party={c.target} company={company} /> },
    { id: 'contact', header: 'Contact', cell: (c) => <PartyCell party={c.contact} company={company} /> },
    { id: 'duration', header: 'Duration', numeric: true, cell: (c) => (c.connected_at ? duration(c.duration_ms) : '–') },
    { id: 'rtt', header: 'RTT p95', numeric: true, cell: (c) => quantity(c.verdict?.delay?.rtt_ms?.p95, 'ms') },
    { id: 'loss', header: 'Loss', numeric: true, cell: (c) => quantity(c.verdict?.loss?.percent, '%') },
    { id: 'mos', header: 'MOS', numeric: true, cell: (c) => quantity(c.verdict?.mos?.avg) },
    {
      id: 'id',
      header: 'ID',
      cell: (c) => <CallLink company={company} call={c.id} />,
    },
  ];
}
