import { useQuery } from '@tanstack/react-query';
import type { Band, Party } from '../api';
import { title } from '../format';
import { type CallEvent, settings } from '../settings';
import { CallLink, PartyCell, PartyName } from './CallColumns';
import type { Column } from './DataTable';
import { BandBadge, Empty, Failure, Loading, Moment, Section, Tag } from './ui';

const eventTone = (type: string): 'ok' | 'warn' | 'alarm' | 'plain' => {
  switch (type) {
    case 'connected':
      return 'ok';
    case 'rejected':
      return 'warn';
    default:
      return 'plain';
  }
};

const partyOrNone = (party: Party | null | undefined, company: string) =>
  party && (party.user_id || party.name || party.number) ? <PartyCell party={party} company={company} /> : <span className="none">–</span>;

/** inWords is the text of a SIP Reason header (RFC 3326), where the reason is one. */
const inWords = (reason: string) => /;\s*text="([^"]+)"/.exec(reason)?.[1] ?? reason;

/** Told is what an event says beside its type. */
function Told({ event, company }: { event: CallEvent; company: string }) {
  const agent = event.agent && (event.agent.user_id || event.agent.name || event.agent.number);
  return (
    <span className="break told">
      {event.reason ? <span title={event.explanation ?? event.reason}>{title(inWords(event.reason))}</span> : null}
      {agent ? (
        <>
          {event.reason ? ' · ' : null}
          <PartyName party={event.agent!} company={company} />
        </>
      ) : null}
      {event.verdict ? (
        <span className="flags">
          <BandBadge band={event.verdict.overall as Band} />
          {event.verdict.one_way_state === 'confirmed' || event.verdict.one_way_state === 'suspected' ? <Tag tone="alarm">One-way audio {event.verdict.one_way_state}</Tag> : null}
          {event.verdict.version > 1 ? <span className="muted">version {event.verdict.version}</span> : null}
        </span>
      ) : null}
      {event.text ? <span className="muted"> {event.text}</span> : null}
      {!event.reason && !agent && !event.text && !event.verdict ? <span className="none">–</span> : null}
    </span>
  );
}

export const eventColumns = (company: string, withCall: boolean): Column<CallEvent>[] => [
  { id: 'at', header: 'Time', lead: true, cell: (e) => <Moment at={e.at} full /> },
  { id: 'type', header: 'Event', cell: (e) => <Tag tone={eventTone(e.type)}>{title(e.type)}</Tag> },
  { id: 'told', header: 'What', cell: (e) => <Told event={e} company={company} /> },
  ...(withCall
    ? ([
        { id: 'target', header: 'Target', cell: (e) => partyOrNone(e.target, company) },
        { id: 'contact', header: 'Contact', cell: (e) => partyOrNone(e.contact, company) },
        { id: 'call', header: 'Call', cell: (e) => <CallLink company={company} call={e.call} /> },
      ] satisfies Column<CallEvent>[])
    : []),
];

/** CallEvents is the life of one call, the first event first. */
export function CallEvents({ company, call, live }: { company: string; call: string; live: boolean }) {
  const events = useQuery({
    queryKey: ['call-events', company, call],
    queryFn: ({ signal }) => settings.callEvents(company, call, { limit: 1000 }, signal),
    refetchInterval: live ? 2000 : false,
  });
  return (
    <Section heading="Call events" id="events" count={events.data?.items.length}>
      {events.isPending ? <Loading what="call events" /> : null}
      {events.isError ? <Failure error={events.error} what="call events" retry={() => void events.refetch()} /> : null}
      {events.data ? <Happened company={company} events={events.data.items} /> : null}
    </Section>
  );
}

/** Happened lists the events of a call. */
export function Happened({ company, events }: { company: string; events: CallEvent[] }) {
  if (events.length === 0) return <Empty>Neither signalling nor a platform told of this call’s life.</Empty>;
  return (
    <ol className="happened">
      {events.map((e) => (
        <li key={e.id}>
          <Moment at={e.at} />
          <Tag tone={eventTone(e.type)}>{title(e.type)}</Tag>
          <Told event={e} company={company} />
        </li>
      ))}
    </ol>
  );
}
