import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState } from 'react';
import { api, type Band, type Call, type CallRejection, type Leg, type Message, type Rating, type Sample } from '../api';
import { callStart, headline, oneWayBand, oneWaySentence, rttBand, shortName } from '../bands';
import { PartyCell } from '../components/CallColumns';
import { CallGraph } from '../components/Chart';
import { type Column, DataTable } from '../components/DataTable';
import { Ladder } from '../components/Ladder';
import { BandBadge, Choice, Copy, copyText, Empty, Facts, Failure, Id, Loading, Moment, Section, Select, Tag, useTitle } from '../components/ui';
import { duration, offset, phone, quantity, secondsBetween, title, words } from '../format';
import { holds, ordered } from '../ladder';
import { type Loaded, loadSamples } from '../samples';
import { defaultView, hasNetwork, legsOf, networkCharts, sidesWithWebRTC, type Span, type View, webrtcCharts } from '../series';

const route = getRouteApi('/c/$company/calls/$call');
const liveMs = 2000;
const noSamples: Sample[] = [];
const noMessages: Message[] = [];

/** refresh says how often to ask again: a live call every 2 s, one whose verdict may still change every 5 s. */
function refresh(call: Call | undefined): number | false {
  if (!call) return false;
  if (call.state === 'live') return liveMs;
  return call.verdict?.final === false ? 5000 : false;
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

  const [mark, setMark] = useState<number | null>(null);
  const rows = useMemo(() => samples.data?.pages.flatMap((p) => p.items) ?? noSamples, [samples.data]);
  const ladder = useMemo(() => ordered(messages.data?.items ?? noMessages), [messages.data]);
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
              {call.connected_at && call.duration_ms !== null && call.duration_ms !== undefined ? ` · ${duration(call.duration_ms)}` : ''}
            </span>
          </p>
        </div>
        <Report company={company} call={call} />
      </div>
      <div className="call-grid">
        <Summary company={company} call={call} />
        <VerdictPanel call={call} mark={mark} onMark={setMark} />
      </div>
      <Graphs
        company={company}
        call={call}
        rows={rows}
        messages={ladder}
        mark={mark}
        pending={samples.isPending}
        error={samples.isError && !samples.data ? samples.error : null}
        retry={() => void samples.refetch()}
        truncated={samples.data?.truncated ?? false}
      />
      <Section
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
            <Link key={l.call_id} to="/c/$company/calls/$call" params={{ company, call: l.call_id }} className="short-id" title={l.call_id}>{l.call_id}</Link>,
          ]) as [string, React.ReactNode][]),
          ['User ID', call.target.user_id ? <Id key="u" text={call.target.user_id} what="user id" /> : null],
        ]}
      />
    </Section>
  );
}

function VerdictPanel({ call, mark, onMark }: { call: Call; mark: number | null; onMark: (t: number | null) => void }) {
  const v = call.verdict;
  if (!v) {
    return (
      <Section heading="Verdict" className="verdict">
        <Empty>{call.state === 'live' ? 'The call has just begun.' : 'No verdict was made.'}</Empty>
      </Section>
    );
  }
  const start = callStart(call);
  const one = v.one_way_audio;
  const dead = one?.state === 'confirmed' || one?.state === 'suspected';
  const deadSince = secondsBetween(start, one?.since);
  const evidence = [...(v.evidence ?? [])].sort((a, b) => (a.at ? Date.parse(a.at) : Infinity) - (b.at ? Date.parse(b.at) : Infinity));
  const share = Object.entries(v.delay?.share ?? {}).filter(([, s]) => (s ?? 0) > 0);
  return (
    <Section
      heading="Verdict"
      className="verdict"
      aside={
        <span className="flags">
          {v.final ? <Tag tone="ok">Final</Tag> : <Tag tone="live">Provisional</Tag>}
          <span className="muted" title={v.rules ? `Rules ${v.rules}` : undefined}>
            version {v.version ?? 1}
          </span>
        </span>
      }
    >
      <p className={`sentence ${dead ? 'sentence-alarm' : ''}`}>{oneWaySentence(one, call)}</p>
      <div className="dimensions">
        <Dimension
          heading="Delay"
          band={v.delay?.band ?? rttBand(v.delay?.rtt_ms?.p95)}
          value={quantity(v.delay?.rtt_ms?.p95, 'ms')}
          unit="RTT p95"
          detail={
            v.delay?.rtt_ms
              ? `median ${quantity(v.delay.rtt_ms.p50)}, highest ${quantity(v.delay.rtt_ms.max)}` +
                (share.length > 1 ? `; ${share.map(([b, s]) => `${Math.round((s ?? 0) * 100)} % ${b}`).join(', ')}` : '')
              : 'no round trip was measured'
          }
        />
        <Dimension
          heading="Jitter"
          band={v.jitter?.band ?? 'unknown'}
          value={quantity(v.jitter?.jitter_ms?.p95, 'ms')}
          unit="network p95"
          detail={
            [
              v.jitter?.buffer_over_preferred_ratio != null ? `buffer ${quantity(v.jitter.buffer_over_preferred_ratio)} × preferred` : '',
              v.jitter?.concealment_percent != null ? `${quantity(v.jitter.concealment_percent, '%')} concealed` : '',
            ]
              .filter(Boolean)
              .join(', ') || (v.jitter?.jitter_ms ? `median ${quantity(v.jitter.jitter_ms.p50)}, highest ${quantity(v.jitter.jitter_ms.max)}` : 'no jitter was measured')
          }
        />
        <Dimension
          heading="Loss"
          band={v.loss?.band ?? 'unknown'}
          value={quantity(v.loss?.percent, '%')}
          unit="worse direction"
          detail={
            [
              v.loss?.target_to_contact_percent != null ? `to contact ${quantity(v.loss.target_to_contact_percent, '%')}` : '',
              v.loss?.contact_to_target_percent != null ? `to target ${quantity(v.loss.contact_to_target_percent, '%')}` : '',
              v.loss?.burst_percent ? `bursts ${quantity(v.loss.burst_percent, '%')}` : '',
            ]
              .filter(Boolean)
              .join(', ') || 'no loss was measured'
          }
        />
        <Dimension
          heading="One-way"
          band={oneWayBand(one)}
          word={one?.state === 'none' ? 'None' : title(one?.state ?? 'unknown')}
          value={dead ? (deadSince === null ? 'yes' : offset(Math.max(0, deadSince))) : one?.state === 'none' ? 'none' : '–'}
          unit={dead ? `on, ${one.direction === 'both' ? 'both ways' : one.direction === 'contact_to_target' ? 'contact → target' : 'target → contact'}` : ''}
          detail={dead && one.confidence ? `confidence ${Math.round(one.confidence * 100)} %` : one?.state === 'none' ? 'both directions carried audio' : 'not observed long enough'}
        />
        <Dimension
          heading="MOS"
          value={quantity(v.mos?.avg)}
          unit={v.mos ? 'average, of 4.5' : ''}
          detail={v.mos ? `lowest ${quantity(v.mos.min)}; ${v.mos.model ?? ''}${v.mos.estimated ? ', estimated' : ''}` : 'codec or loss unknown'}
        />
      </div>
      <h3>Evidence</h3>
      {evidence.length === 0 ? (
        <Empty>Nothing was observed that speaks for or against this call.</Empty>
      ) : (
        <ol className="evidence">
          {evidence.map((e, i) => {
            const at = secondsBetween(start, e.at);
            const known = at !== null;
            return (
              // oxlint-disable-next-line react/no-array-index-key
              <li key={`${e.kind} ${e.at ?? ''} ${i}`}>
                {known ? (
                  <button type="button" className="when num" aria-pressed={mark === at} title="Show on the graphs" onClick={() => onMark(mark === at ? null : at)}>
                    {offset(at)}
                  </button>
                ) : (
                  <span className="when muted">call</span>
                )}
                <span>
                  {e.text}
                  {e.side ? <span className="muted"> Seen by {shortName(e.side, call)}.</span> : null}
                </span>
              </li>
            );
          })}
        </ol>
      )}
      <p className="sources muted">
        {v.fault_side && v.fault_side !== 'unknown' ? (
          <>
            Fault lies with: <b>{v.fault_side === 'target' || v.fault_side === 'contact' ? `the ${v.fault_side}, ${shortName(v.fault_side, call)}` : `the ${v.fault_side}`}</b>.{' '}
          </>
        ) : null}
        {v.sources?.length
          ? `Based on ${v.sources.map((s) => `${words(s.kind)}${s.side ? ` (${s.side})` : ''}${s.samples ? ` × ${s.samples}` : ''}`).join(', ')}.`
          : 'No source reported on the media.'}
      </p>
    </Section>
  );
}

function Dimension({
  heading, band, word, value, unit, detail,
}: {
  heading: string; band?: Band; word?: string; value: string; unit: string; detail: string;
}) {
  return (
    <div className={`dimension edge-${band ?? 'unknown'}`}>
      <div className="dimension-head">
        <h3>{heading}</h3>
        {band ? <BandBadge band={band}>{word}</BandBadge> : null}
      </div>
      <p>
        <b>{value}</b> <span className="muted">{unit}</span>
      </p>
      {detail ? <p className="muted small-text">{detail}</p> : null}
    </div>
  );
}

function Graphs({
  company, call, rows, messages, mark, pending, error, retry, truncated,
}: {
  company: string; call: Call; rows: Sample[]; messages: Message[]; mark: number | null; pending: boolean; error: unknown; retry: () => void; truncated: boolean;
}) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const origin = Date.parse(callStart(call));
  const sides = useMemo(() => sidesWithWebRTC(rows), [rows]);
  const network = useMemo(() => hasNetwork(rows), [rows]);
  const asked: View | undefined = search.view === 'target' || search.view === 'contact' || search.view === 'network' ? search.view : undefined;
  const view: View = asked ?? defaultView(rows);
  const side = view === 'network' ? null : view;
  const legs = useMemo(() => (side ? legsOf(rows, side) : []), [rows, side]);
  const leg = search.leg && legs.includes(search.leg) ? search.leg : legs[0];
  const end = useMemo(() => {
    const last = rows.length > 0 ? Math.max(...rows.map((r) => Date.parse(r.at)).slice(-200)) : origin;
    const until = call.ended_at ? Date.parse(call.ended_at) : last;
    return Math.max(1, (Math.max(until, last) - origin) / 1000);
  }, [rows, call.ended_at, origin]);
  const spans = useMemo<Span[]>(() => {
    const out: Span[] = holds(messages, call.ended_at).map((h) => ({
      kind: 'hold', from: (Date.parse(h.from) - origin) / 1000, to: (Date.parse(h.to) - origin) / 1000, label: 'on hold',
    }));
    const one = call.verdict?.one_way_audio;
    if (one?.since && (one.state === 'confirmed' || one.state === 'suspected')) {
      const label = one.direction === 'both' ? 'no audio' : one.direction === 'contact_to_target' ? 'contact not heard' : 'target not heard';
      out.push({ kind: 'one-way', from: (Date.parse(one.since) - origin) / 1000, to: end, label: one.state === 'suspected' ? `${label}?` : label });
    }
    return out;
  }, [messages, call.ended_at, call.verdict?.one_way_audio, origin, end]);
  const own = useMemo(() => (side && sides.has(side) ? webrtcCharts(rows, side, leg, origin) : null), [rows, side, sides, leg, origin]);
  const net = useMemo(() => (network && (!side || !sides.has(side)) ? networkCharts(rows, origin) : null), [rows, side, sides, network, origin]);
  // A report links to a graph, which stands on the page only once its samples are here.
  const drawn = own !== null || net !== null;
  useEffect(() => {
    if (drawn && location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }, [drawn]);
  const group = `${company}/${call.id}`;
  const shared = { end, spans, mark, group };
  const label = (s: 'target' | 'contact') => `${title(s)}: ${call[s].name || phone(call[s].number) || 'unknown'}`;
  return (
    <Section
      heading={own || !net ? 'WebRTC stats' : 'Network reports'}
      className="graphs"
      aside={
        <span className="flags">
          {legs.length > 1 ? (
            <Select label="Leg" value={leg ?? ''} options={legs.map((l): [string, string] => [l, l])} onChange={(l) => void navigate({ search: (s) => ({ ...s, leg: l }), replace: true })} />
          ) : null}
          <Choice<View>
            label="Whose view"
            value={view}
            options={[
              { value: 'target', label: label('target') },
              { value: 'contact', label: label('contact') },
              ...(network ? [{ value: 'network' as const, label: 'Network (RTCP)' }] : []),
            ]}
            onChange={(v) => void navigate({ search: (s) => ({ ...s, view: v, leg: undefined }), replace: true })}
          />
        </span>
      }
    >
      {pending ? <Loading what="samples" /> : null}
      {error ? <Failure error={error} what="samples" retry={retry} /> : null}
      {!pending && !error && !own ? (
        <p className="note-line">
          {sides.size > 0 && side
            ? `No WebRTC stats were reported by the ${side}’s app.`
            : 'WebRTC stats are only available for calls made on the desktop or web app; calls on a desk phone or mobile device do not generate them.'}
          {net ? ' What the network’s RTCP reports show of this call stands below.' : ''}
          {!net && rows.length === 0 && call.state === 'live' ? ' Nothing was reported yet.' : ''}
          {!net && rows.length === 0 && call.state !== 'live' ? ' No RTCP was seen for it either, so there is nothing to draw.' : ''}
        </p>
      ) : null}
      {own && side ? (
        <>
          <CallGraph
            {...shared}
            id="jitter"
            heading="Jitter buffer"
            help="Blue is how long packets wait for the ear, red what WebRTC prefers. Blue well above red means a choppy call."
            chart={own.buffer}
            unit="ms"
            floor={40}
            empty="This app reported no jitter buffer."
          />
          <CallGraph
            {...shared}
            bands
            id="delay"
            heading="Round trip time"
            help="From the app to the other end of its connection and back."
            chart={own.rtt}
            unit="ms"
            floor={340}
            empty="No round trip was measured."
          />
          <CallGraph
            {...shared}
            id="audio"
            heading="Audio levels"
            help={`Blue is the microphone of ${shortName(side, call)}, red what they hear. A flat line while the other side talks is one-way audio.`}
            chart={own.audio}
            unit=""
            floor={0.05}
            empty="This app reported no audio levels."
          />
          <p className="muted pad">The values are those that the app reported. For a call between two users, look at both sides.</p>
        </>
      ) : null}
      {net ? (
        <>
          <CallGraph {...shared} id="jitter" heading="Jitter" help="Variation of packet spacing on the network, per direction (RFC 3550)." chart={net.jitter} unit="ms" floor={20} empty="No jitter was reported, or its clock rate is unknown." />
          <CallGraph {...shared} bands id="delay" heading="Round trip time" help="From reports of both ends, per direction of the reporter." chart={net.rtt} unit="ms" floor={340} empty="No round trip could be computed from the reports." />
          <CallGraph {...shared} id="loss" heading="Packet loss" help="Share of packets lost in each interval, per direction." chart={net.loss} unit="%" floor={6} empty="No loss was reported." />
        </>
      ) : null}
      {truncated ? <p className="muted pad">The call is longer than the graphs can hold: its end is not drawn.</p> : null}
    </Section>
  );
}

const legColumns: Column<Leg>[] = [
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
  { id: 'codec', header: 'Codec', cell: (l) => (l.codec ? `${l.codec}${l.clock_rate ? ` / ${l.clock_rate}` : ''}` : '–') },
  { id: 'agent', header: 'User agent', cell: (l) => <span className="break">{l.user_agent || '–'}</span> },
  { id: 'address', header: 'Media address', cell: (l) => <span className="num break">{l.address || '–'}</span> },
  { id: 'started', header: 'Started', cell: (l) => <Moment at={l.started_at} /> },
  { id: 'ended', header: 'Ended', cell: (l) => <Moment at={l.ended_at} /> },
  { id: 'sip', header: 'SIP Call-ID', cell: (l) => (l.sip_call_id ? <span className="id"><code className="short-id" title={l.sip_call_id}>{l.sip_call_id}</code><Copy text={l.sip_call_id} what="SIP Call-ID" /></span> : '–') },
  { id: 'linked', header: 'Linked by', cell: (l) => (l.linked_by ? <Tag tone={l.linked_by === 'guess' ? 'warn' : 'plain'}>{linkWords[l.linked_by] ?? words(l.linked_by)}</Tag> : '–') },
];

const linkWords: Record<string, string> = { event: 'Platform event', session_id: 'Session-ID', header: 'SIP header', guess: 'A guess' };

function Legs({ legs }: { legs: Leg[] }) {
  return (
    <Section heading="Legs" count={legs.length}>
      {legs.length === 0 ? <Empty>No leg is known.</Empty> : <DataTable label="Legs" rows={legs} columns={legColumns} rowKey={(l) => `${l.id} ${l.kind} ${l.side ?? ''}`} />}
    </Section>
  );
}

function Rejections({ company, items }: { company: string; items: CallRejection[] }) {
  const columns: Column<CallRejection>[] = [
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
    { id: 'status', header: 'SIP', numeric: true, cell: (r) => r.sip_status || '–' },
    { id: 'raw', header: 'Reason header', cell: (r) => <span className="break">{r.raw_reason || '–'}</span> },
    { id: 'text', header: 'In the platform’s words', cell: (r) => r.text || '–' },
  ];
  return (
    <Section heading="Rejections" count={items.length}>
      <DataTable label="Rejections" rows={items} columns={columns} rowKey={(r) => r.id ?? `${r.at} ${r.reason}`} />
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
