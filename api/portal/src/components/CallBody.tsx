// What a call's page shows, of a call that is in the store as of one that was frozen.
import { Link } from '@tanstack/react-router';
import { type ReactNode, useMemo } from 'react';
import type { Call, CallRejection, Leg, Message, Rating, Sample } from '../api';
import { callStart, headline, shortName } from '../bands';
import { useEvidence } from '../callroute';
import { duration, phone, title, words } from '../format';
import { ordered } from '../ladder';
import { Baselines } from './Baselines';
import { CallLink, PartyCell } from './CallColumns';
import { type Column, DataTable } from './DataTable';
import { Graphs } from './Graphs';
import { Ladder } from './Ladder';
import { BandBadge, Copy, Empty, Facts, Failure, Id, Loading, Moment, Section, Tag } from './ui';
import { VerdictPanel } from './Verdict';
import { Why } from './Why';

/** Part is one of the things that hang on a call, while it is loaded and after. */
export interface Part<T> {
  items: T[];
  pending?: boolean;
  /** error is why there is nothing. */
  error?: unknown;
  retry?: () => void;
  /** truncated: there are more than are here. */
  truncated: boolean;
}

const nothing = () => {};

/** CallBody is the page: actions beside the heading, children at the end. */
export function CallBody({
  company, call, samples, messages, pcap, actions, children,
}: {
  company: string; call: Call; samples: Part<Sample>; messages: Part<Message>; pcap: string; actions: ReactNode; children: ReactNode;
}) {
  const [selected, select] = useEvidence(call);
  const ladder = useMemo(() => ordered(messages.items), [messages.items]);
  return (
    <div className="page call">
      <p className="crumbs">
        <Link to="/c/$company/calls" params={{ company }}>
          Calls
        </Link>
      </p>
      <div className="call-title">
        <div>
          <h1>
            {name(call, 'target')} <span className="muted">{call.direction === 'inbound' ? '←' : '→'}</span> {name(call, 'contact')}
          </h1>
          <p className="flags">
            <BandBadge band={call.verdict?.overall ?? 'unknown'}>{headline(call)}</BandBadge>
            {call.state === 'live' ? <Tag tone="live">Live</Tag> : null}
            <span className="muted">
              <Moment at={call.started_at} full />
              {call.connected_at && call.duration_ms !== null && call.duration_ms !== undefined ? (
                <>
                  {' · '}
                  <Why path="duration_ms">{duration(call.duration_ms)}</Why>
                </>
              ) : null}
            </span>
          </p>
        </div>
        {actions}
      </div>
      <div className="call-grid">
        <Summary company={company} call={call} />
        <VerdictPanel call={call} selected={selected} onSelect={select} />
      </div>
      <Baselines baselines={call.baselines} sentences={call.baseline_sentences} />
      <Graphs
        company={company}
        call={call}
        rows={samples.items}
        messages={ladder}
        selected={selected}
        onSelect={select}
        pending={samples.pending ?? false}
        error={samples.error ?? null}
        retry={samples.retry ?? nothing}
        truncated={samples.truncated}
      />
      <Section
        id="ladder"
        heading="SIP messages"
        count={messages.pending || messages.error ? undefined : ladder.length}
        aside={
          ladder.length > 0 ? (
            <a href={pcap} download>
              Download as pcap
            </a>
          ) : null
        }
      >
        {messages.pending ? <Loading what="messages" /> : null}
        {messages.error ? <Failure error={messages.error} what="messages" retry={messages.retry} /> : null}
        {!messages.pending && !messages.error && ladder.length === 0 ? <Empty>No SIP message of this call was seen.</Empty> : null}
        {ladder.length > 0 ? <Ladder messages={ladder} origin={callStart(call)} /> : null}
        {messages.truncated ? <p className="muted pad">The first {ladder.length} messages{messages.retry ? '. The capture has all' : ''}.</p> : null}
      </Section>
      <Legs legs={call.legs ?? []} />
      {call.rejections?.length ? <CallRejections company={company} items={call.rejections} /> : null}
      {call.ratings?.length ? <CallRatings items={call.ratings} /> : null}
      {children}
    </div>
  );
}

function name(call: Call, side: 'target' | 'contact'): string {
  const party = call[side];
  return party.name || phone(party.number) || title(side);
}

function Summary({ company, call }: { company: string; call: Call }) {
  const end = call.end;
  return (
    <Section heading="Call summary" className="summary">
      <Facts
        items={[
          ['Target', <PartyCell key="t" party={call.target} company={company} />],
          ['Contact', <PartyCell key="c" party={call.contact} company={company} />],
          ['Endpoint', [words(call.target.endpoint), call.target.app_version, call.target.platform].filter(Boolean).join(' · ')],
          ['Direction', title(call.direction)],
          ['Started', <Moment key="s" at={call.started_at} full />],
          ['Connected', call.connected_at ? <Moment key="n" at={call.connected_at} full /> : 'never'],
          ['Ended', call.ended_at ? <Moment key="e" at={call.ended_at} full /> : call.state === 'live' ? 'still running' : null],
          ['Description', call.description],
          [
            'Ended by',
            end ? [end.by === 'target' || end.by === 'contact' ? shortName(end.by, call) : title(end.by), end.sip_status || '', end.reason].filter(Boolean).join(' · ') : null,
          ],
          ['Call ID', <Id key="id" text={call.id} what="call id" />],
          ...((call.sip_call_ids ?? [])
            .filter((s) => s !== call.id)
            .map((s, i) => [i === 0 ? 'SIP Call-ID' : `SIP Call-ID ${i + 1}`, <Id key={s} text={s} what="SIP Call-ID" />]) as [string, React.ReactNode][]),
          ...((call.linked_calls ?? []).map((l) => [
            l.linked_by === 'guess' ? 'Other leg (a guess)' : 'Other leg',
            <CallLink key={l.call_id} company={company} call={l.call_id} />,
          ]) as [string, React.ReactNode][]),
          ['User ID', call.target.user_id ? <Id key="u" text={call.target.user_id} what="user id" /> : null],
        ]}
      />
    </Section>
  );
}

interface PlacedLeg extends Leg {
  index: number;
}

const legColumns: Column<PlacedLeg>[] = [
  {
    id: 'id', header: 'Leg', lead: true,
    cell: (l) => (
      <span className="id">
        <code className="short-id" title={l.id}>{l.id}</code>
        <Copy text={l.id} what="leg id" />
      </span>
    ),
  },
  { id: 'kind', header: 'Kind', cell: (l) => words(l.kind) },
  { id: 'side', header: 'Side', cell: (l) => title(l.side) || '–' },
  { id: 'codec', header: 'Codec', cell: (l) => (l.codec ? <>{l.codec}{l.clock_rate ? <> / <Why path={`legs[${l.index}].clock_rate`}>{l.clock_rate}</Why></> : null}</> : '–') },
  { id: 'agent', header: 'User agent', cell: (l) => <span className="break">{l.user_agent || '–'}</span> },
  { id: 'address', header: 'Media address', cell: (l) => <span className="num break">{l.address || '–'}</span> },
  { id: 'started', header: 'Started', cell: (l) => <Moment at={l.started_at} /> },
  { id: 'ended', header: 'Ended', cell: (l) => <Moment at={l.ended_at} /> },
  { id: 'sip', header: 'SIP Call-ID', cell: (l) => (l.sip_call_id ? <span className="id"><code className="short-id" title={l.sip_call_id}>{l.sip_call_id}</code><Copy text={l.sip_call_id} what="SIP Call-ID" /></span> : '–') },
  { id: 'linked', header: 'Linked by', cell: (l) => (l.linked_by ? <Tag tone={l.linked_by === 'guess' ? 'warn' : 'plain'}>{linkWords[l.linked_by] ?? words(l.linked_by)}{l.link_confidence ? <>, <Why path={`legs[${l.index}].link_confidence`}>{Math.round(l.link_confidence * 100)} %</Why></> : null}</Tag> : 'the call’s own') },
];

const linkWords: Record<string, string> = { event: 'Platform event', session_id: 'Session-ID', header: 'SIP header', guess: 'A guess' };

function Legs({ legs }: { legs: Leg[] }) {
  return (
    <Section heading="Legs" count={legs.length}>
      {legs.length === 0 ? <Empty>No leg is known.</Empty> : <DataTable label="Legs" rows={legs.map((l, index) => ({ ...l, index }))} columns={legColumns} rowKey={(l) => `${l.id} ${l.kind} ${l.side ?? ''}`} />}
    </Section>
  );
}

function CallRejections({ company, items }: { company: string; items: CallRejection[] }) {
  const rows = items.map((r, index) => ({ ...r, index }));
  const columns: Column<CallRejection & { index: number }>[] = [
    { id: 'at', header: 'Time', lead: true, cell: (r) => <Moment at={r.at} /> },
    { id: 'reason', header: 'Reason', cell: (r) => <Tag tone="warn">{title(r.reason)}</Tag> },
    {
      id: 'agent', header: 'Agent',
      cell: (r) => {
        if (!r.agent) return '–';
        if (typeof r.agent === 'string') return r.agent;
        return r.agent.user_id || r.agent.name || r.agent.number ? <PartyCell party={r.agent} company={company} /> : '–';
      },
    },
    { id: 'status', header: 'SIP', numeric: true, cell: (r) => (r.sip_status ? <Why path={`rejections[${r.index}].sip_status`}>{r.sip_status}</Why> : '–') },
    { id: 'raw', header: 'Reason header', cell: (r) => <span className="break">{r.raw_reason || '–'}</span> },
    { id: 'text', header: 'In the platform’s words', cell: (r) => r.text || '–' },
  ];
  return (
    <Section heading="Rejections" count={items.length}>
      <DataTable label="Rejections" rows={rows} columns={columns} rowKey={(r) => r.id ?? `${r.at} ${r.reason}`} />
    </Section>
  );
}

function CallRatings({ items }: { items: Rating[] }) {
  const columns: Column<Rating>[] = [
    { id: 'at', header: 'Time', lead: true, cell: (r) => <Moment at={r.at} /> },
    { id: 'rating', header: 'Rating', cell: (r) => <span aria-label={`${r.rating} of 5`}>{'★'.repeat(r.rating)}{'☆'.repeat(Math.max(0, 5 - r.rating))}</span> },
    { id: 'who', header: 'By', cell: (r) => r.name || r.user_id || '–' },
    { id: 'text', header: 'Remark', cell: (r) => r.text || '–' },
  ];
  return (
    <Section heading="Ratings" count={items.length}>
      <DataTable label="Ratings" rows={items} columns={columns} rowKey={(r) => r.id ?? r.at} />
    </Section>
  );
}
