import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { api, type Call, type CallRejection, type Leg, type Message, type Rating, type Sample } from '../api';
import { callStart, headline, shortName } from '../bands';
import { Baselines } from '../components/Baselines';
import { CallLink, PartyCell } from '../components/CallColumns';
import { CallEvents } from '../components/CallEvents';
import { type Column, DataTable } from '../components/DataTable';
import { Graphs, useSelected } from '../components/Graphs';
import { Ladder } from '../components/Ladder';
import { CallRecording } from '../components/Recording';
import { BandBadge, Copy, copyText, Empty, Facts, Failure, Id, Loading, Moment, Section, Tag, useTitle } from '../components/ui';
import { VerdictPanel } from '../components/Verdict';
import { Explained, Why } from '../components/Why';
import { addressOf } from '../evidence';
import { duration, phone, title, words } from '../format';
import { ordered } from '../ladder';
import { type Loaded, loadSamples } from '../samples';

const route = getRouteApi('/c/$company/calls/$call');
const liveMs = 2000;
const noSamples: Sample[] = [];
const noMessages: Message[] = [];

// Reports that come later than this change no verdict any more.
const lateMs = 150_000;

/** refresh says how often to ask again: a live call every 2 s, one whose verdict late reports may still change every 5 s. */
function refresh(call: Call | undefined): number | false {
  if (!call) return false;
  if (call.state === 'live') return liveMs;
  const fresh = !!call.ended_at && Date.now() - Date.parse(call.ended_at) < lateMs;
  return call.verdict?.final === false || fresh ? 5000 : false;
}

export function CallPage() {
  const { company, call: id } = route.useParams();
  const found = useQuery({
    queryKey: ['call', company, id],
    queryFn: ({ signal }) => api.call(company, id, signal),
    refetchInterval: (q) => refresh(q.state.data),
  });
  useTitle(found.data ? `${headline(found.data)} · call ${id}` : 'Call');
  if (found.isPending) return <Loading what="the call" />;
  if (found.isError && !found.data) return <Failure error={found.error} what="call" retry={() => void found.refetch()} />;
  return <CallView company={company} call={found.data!} />;
}

function CallView({ company, call }: { company: string; call: Call }) {
  const client = useQueryClient();
  const every = refresh(call);
  const samplesKey = useMemo(() => ['samples', company, call.id], [company, call.id]);
  const samples = useQuery({
    queryKey: samplesKey,
    queryFn: ({ signal }) => {
      // Once the call has ended everything is read again: a late report may stand in the middle.
      const before = every ? client.getQueryData<Loaded>(samplesKey) : undefined;
      return loadSamples((p) => api.samples(company, call.id, p, signal), before);
    },
    refetchInterval: every,
  });
  const messages = useQuery({
    queryKey: ['messages', company, call.id],
    queryFn: ({ signal }) => api.messages(company, call.id, { limit: 1000 }, signal),
    refetchInterval: every,
  });
  const settled = useRef(every === false);
  useEffect(() => {
    if (every === false && !settled.current) {
      void client.invalidateQueries({ queryKey: samplesKey });
      void client.invalidateQueries({ queryKey: ['messages', company, call.id] });
    }
    settled.current = every === false;
  }, [every, client, samplesKey, company, call.id]);

  const selected = useSelected(call);
  const navigate = route.useNavigate();
  const list = call.verdict?.evidence;
  const origin = Date.parse(callStart(call));
  const select = useCallback(
    (index: number) => {
      const { hash, at } = index < 0 || !list ? { hash: '', at: undefined } : addressOf(list, index, origin);
      void navigate({ search: (s) => ({ ...s, at }), hash, replace: true, hashScrollIntoView: false, resetScroll: false });
    },
    [navigate, list, origin],
  );
  const rows = useMemo(() => samples.data?.pages.flatMap((p) => p.items) ?? noSamples, [samples.data]);
  const ladder = useMemo(() => ordered(messages.data?.items ?? noMessages), [messages.data]);
  return (
    <Explained company={company} call={call.id} version={call.verdict?.version ?? 0}>
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
          <Report company={company} call={call} />
        </div>
        <div className="call-grid">
          <Summary company={company} call={call} />
          <VerdictPanel call={call} selected={selected} onSelect={select} />
        </div>
        <Baselines baselines={call.baselines} sentences={call.baseline_sentences} />
        <Graphs
          company={company}
          call={call}
          rows={rows}
          messages={ladder}
          selected={selected}
          onSelect={select}
          pending={samples.isPending}
          error={samples.isError && !samples.data ? samples.error : null}
          retry={() => void samples.refetch()}
          truncated={samples.data?.truncated ?? false}
        />
        <Section
          id="ladder"
          heading="SIP messages"
          count={messages.data ? ladder.length : undefined}
          aside={
            ladder.length > 0 ? (
              <a href={api.pcapURL(company, call.id)} download>
                Download as pcap
              </a>
            ) : null
          }
        >
          {messages.isPending ? <Loading what="messages" /> : null}
          {messages.isError && !messages.data ? <Failure error={messages.error} what="messages" retry={() => void messages.refetch()} /> : null}
          {messages.data && ladder.length === 0 ? <Empty>No SIP message of this call was seen.</Empty> : null}
          {ladder.length > 0 ? <Ladder messages={ladder} origin={callStart(call)} /> : null}
          {messages.data?.next_cursor ? <p className="muted pad">The first {ladder.length} messages. The capture has all.</p> : null}
        </Section>
        <Legs legs={call.legs ?? []} />
        {call.rejections?.length ? <Rejections company={company} items={call.rejections} /> : null}
        {call.ratings?.length ? <Ratings items={call.ratings} /> : null}
        <CallEvents company={company} call={call.id} live={call.state === 'live'} />
        <CallRecording company={company} call={call.id} />
      </div>
    </Explained>
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

function Rejections({ company, items }: { company: string; items: CallRejection[] }) {
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

function Ratings({ items }: { items: Rating[] }) {
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

/** Report gives what a ticket needs, on the clipboard and to look at. */
function Report({ company, call }: { company: string; call: Call }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [note, setNote] = useState('');
  const [busy, setBusy] = useState(false);
  const copy = async (markdown: string) => setNote((await copyText(markdown)) ? 'Copied to the clipboard.' : 'The browser did not let it be copied: copy it by hand.');
  const open = async () => {
    setBusy(true);
    try {
      const markdown = await api.report(company, call.id);
      setText(markdown);
      dialog.current?.showModal();
      await copy(markdown);
    } catch (error) {
      setText('');
      setNote(`Cannot make the report: ${error instanceof Error ? error.message : String(error)}`);
      dialog.current?.showModal();
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="actions">
      <button type="button" className="primary" disabled={busy} onClick={() => void open()}>
        Report this call
      </button>
      <dialog ref={dialog} aria-labelledby="report-heading">
        <h2 id="report-heading">Report of this call</h2>
        <p role="status">{note}</p>
        {text ? <textarea readOnly value={text} rows={18} aria-label="Report in Markdown" /> : null}
        <form method="dialog" className="actions">
          {text ? (
            <>
              <button type="button" onClick={() => void copy(text)}>
                Copy again
              </button>
              <a className="button" href={`data:text/markdown;charset=utf-8,${encodeURIComponent(text)}`} download={`call-${call.id.replace(/[^\w.-]+/g, '_')}.md`}>
                Save as a file
              </a>
            </>
          ) : null}
          <button type="submit" className="primary">
            Close
          </button>
        </form>
      </dialog>
    </div>
  );
}
