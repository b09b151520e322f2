// The graphs of a call: one side's, both sides' next to each other, or the network's reports.
import { useRouterState } from '@tanstack/react-router';
import { useEffect, useMemo, useState } from 'react';
import type { Call, Message, Sample } from '../api';
import { callStart, rttBands, shortName } from '../bands';
import { useCallNavigate, useCallSearch } from '../callroute';
import { graphOf, type Place, placeOf, spansOf, viewOf, zoomOf } from '../evidence';
import { phone, second, title } from '../format';
import { holds } from '../ladder';
import { defaultView, hasNetwork, isEmpty, legsOf, networkCharts, sidesWithWebRTC, type View, type WebRTCCharts, webrtcCharts } from '../series';
import { CallGraph } from './Chart';
import { Choice, Failure, Loading, Section, Select } from './ui';

/** momentOf is the place that ?at= names by itself. */
function momentOf(at: string | undefined): Place | null {
  const t = Number(at ?? 'none');
  return Number.isFinite(t) ? { from: t, to: t } : null;
}

export function Graphs({
  company, call, rows, messages, selected, onSelect, pending, error, retry, truncated,
}: {
  company: string; call: Call; rows: Sample[]; messages: Message[]; selected: number; onSelect: (index: number) => void;
  pending: boolean; error: unknown; retry: () => void; truncated: boolean;
}) {
  const search = useCallSearch();
  const navigate = useCallNavigate();
  const origin = Date.parse(callStart(call));
  const sides = useMemo(() => sidesWithWebRTC(rows), [rows]);
  const network = useMemo(() => hasNetwork(rows), [rows]);
  const both = sides.has('target') && sides.has('contact');
  const wanted = (['target', 'contact', 'both', 'network'] as View[]).find((v) => v === search.view);
  const view: View = wanted === undefined || (wanted === 'both' && !both) ? defaultView(rows) : wanted;
  const side = view === 'target' || view === 'contact' ? view : null;
  const legs = useMemo(() => (side ? legsOf(rows, side) : []), [rows, side]);
  const leg = search.leg && legs.includes(search.leg) ? search.leg : legs[0];
  const end = useMemo(() => {
    const last = rows.length > 0 ? Math.max(...rows.map((r) => Date.parse(r.at)).slice(-200)) : origin;
    const until = call.ended_at ? Date.parse(call.ended_at) : last;
    return Math.max(1, (Math.max(until, last) - origin) / 1000);
  }, [rows, call.ended_at, origin]);
  const spans = useMemo(() => spansOf(call, holds(messages, call.ended_at), origin, end), [call, messages, origin, end]);
  const bands = useMemo(() => rttBands(call.verdict?.thresholds), [call.verdict?.thresholds]);
  const charts = useMemo(
    () => ({
      target: sides.has('target') ? webrtcCharts(rows, 'target', view === 'target' ? leg : legsOf(rows, 'target')[0], origin) : null,
      contact: sides.has('contact') ? webrtcCharts(rows, 'contact', view === 'contact' ? leg : legsOf(rows, 'contact')[0], origin) : null,
      network: network ? networkCharts(rows, origin) : null,
    }),
    [rows, sides, network, view, leg, origin],
  );
  const own = side ? charts[side] : null;
  const net = (view === 'network' || (side && !own)) && view !== 'both' ? charts.network : null;
  const drawn = own !== null || net !== null || view === 'both';

  const evidence = call.verdict?.evidence?.[selected];
  const [from, until] = [evidence?.at, evidence?.until];
  const mark = useMemo<Place | null>(() => placeOf({ at: from, until }, origin) ?? momentOf(search.at), [from, until, origin, search.at]);
  const [zoom, setZoom] = useState<Place | null>(null);
  const hash = useRouterState({ select: (s) => s.location.hash });
  const ready = drawn && !pending;
  useEffect(() => {
    if (!ready) return;
    if (!evidence) {
      const moment = momentOf(search.at);
      setZoom(moment && zoomOf(moment, end));
      // A report links to a graph, which stands on the page only once its samples are here.
      if (hash && !hash.startsWith('evidence-')) document.getElementById(hash)?.scrollIntoView();
      return;
    }
    const has = (v: View, graph: string): boolean => {
      if (v === 'both') return both && (has('target', graph) || has('contact', graph));
      const chart = chartOf(charts[v], graph);
      return chart !== undefined && !isEmpty(chart);
    };
    const best = viewOf(evidence, view, has);
    if (best !== view) navigate({ view: best, leg: undefined }, true);
    const place = placeOf(evidence, origin);
    setZoom(place ? zoomOf(place, end) : null);
    const graph = graphOf(evidence);
    const timer = setTimeout(() => {
      const id = best === 'both' && evidence.side === 'contact' ? `contact-${graph}` : graph;
      const target = (id && document.getElementById(id)) || document.getElementById(`evidence-${selected + 1}`);
      const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
      target?.scrollIntoView({ block: 'center', behavior: calm ? 'auto' : 'smooth' });
    }, 60);
    return () => clearTimeout(timer);
    // Only another choice moves the page; a live call that grows does not.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [hash, search.at, ready, selected]);

  const group = `${company}/${call.id}`;
  const shared = { end, spans, mark, zoom, onZoom: setZoom, group };
  const label = (s: 'target' | 'contact') => `${title(s)}: ${call[s].name || phone(call[s].number) || 'unknown'}`;
  return (
    <Section
      heading={own || view === 'both' || !net ? 'WebRTC stats' : 'Network reports'}
      className="graphs"
      aside={
        <span className="flags">
          {legs.length > 1 ? (
            <Select
              label="Leg"
              value={leg ?? ''}
              options={legs.map((l): [string, string] => [l, l])}
              onChange={(l) => navigate({ leg: l }, true)}
            />
          ) : null}
          <Choice<View>
            label="Whose view"
            value={view}
            options={[
              { value: 'target', label: label('target') },
              { value: 'contact', label: label('contact') },
              ...(both ? [{ value: 'both' as const, label: 'Both sides' }] : []),
              ...(network ? [{ value: 'network' as const, label: 'Network (RTCP)' }] : []),
            ]}
            onChange={(v) => navigate({ view: v, leg: undefined })}
          />
        </span>
      }
    >
      {pending ? <Loading what="samples" /> : null}
      {error ? <Failure error={error} what="samples" retry={retry} /> : null}
      {drawn && (evidence || zoom) ? (
        <div className="looking" role="status">
          <span>
            {evidence ? (
              <>
                <a href={`#evidence-${selected + 1}`} onClick={(e) => (e.preventDefault(), document.getElementById(`evidence-${selected + 1}`)?.scrollIntoView({ block: 'center' }))}>
                  Evidence {selected + 1}
                </a>
                : <span className="looking-text">{evidence.text}</span>
              </>
            ) : null}
          </span>
          <span className="flags">
            <span className="num muted">{zoom ? `${second(zoom.from)}–${second(zoom.to)}` : 'whole call'}</span>
            {zoom ? (
              <button type="button" onClick={() => setZoom(null)}>
                Whole call
              </button>
            ) : null}
            {evidence ? (
              <button type="button" onClick={() => onSelect(-1)}>
                Done
              </button>
            ) : null}
          </span>
        </div>
      ) : null}
      {!pending && !error && !own && view !== 'both' ? (
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
          <Own {...shared} call={call} side={side} charts={own} bands={bands} prefix="" />
          <p className="muted pad">The values are those that the app reported.{both ? ' The other side tells its own.' : ' For a call between two users, look at both sides.'}</p>
        </>
      ) : null}
      {view === 'both' && charts.target && charts.contact ? (
        <div className="sides">
          {(['target', 'contact'] as const).map((s) => (
            <div key={s} className="side">
              <h3 className="side-name">{label(s)}</h3>
              <Own {...shared} call={call} side={s} charts={charts[s]!} bands={bands} prefix={s === 'contact' ? 'contact-' : ''} />
            </div>
          ))}
        </div>
      ) : null}
      {net ? (
        <>
          <CallGraph {...shared} id="jitter" heading="Jitter" help="Variation of packet spacing on the network, per direction." chart={net.jitter} unit="ms" floor={20} empty="No jitter was reported, or its clock rate is unknown." />
          <CallGraph {...shared} bands={bands} id="delay" heading="Round trip time" help="From reports of both ends, per direction of the reporter." chart={net.rtt} unit="ms" floor={340} empty="No round trip could be computed from the reports." />
          <CallGraph {...shared} id="loss" heading="Packet loss" help="Share of packets lost in each interval, per direction." chart={net.loss} unit="%" floor={6} empty="No loss was reported." />
          {isEmpty(net.mos) ? null : <CallGraph {...shared} id="mos" heading="MOS" help="Of each interval, per direction; 4.5 is the best." chart={net.mos} unit="" floor={5} empty="" />}
        </>
      ) : null}
      {truncated ? <p className="muted pad">The call is longer than the graphs can hold: its end is not drawn.</p> : null}
    </Section>
  );
}

function chartOf(charts: Partial<WebRTCCharts> | null, graph: string) {
  if (!charts) return undefined;
  return { jitter: charts.buffer ?? (charts as { jitter?: WebRTCCharts['buffer'] }).jitter, delay: charts.rtt, audio: charts.audio, loss: charts.loss, mos: charts.mos }[graph];
}

/** Own are the graphs of what one side's app told. */
function Own({
  call, charts, bands, prefix, ...shared
}: {
  call: Call; side: 'target' | 'contact'; charts: WebRTCCharts; bands: ReturnType<typeof rttBands>; prefix: string;
} & Pick<React.ComponentProps<typeof CallGraph>, 'end' | 'spans' | 'mark' | 'zoom' | 'onZoom' | 'group'>) {
  return (
    <>
      <CallGraph
        {...shared}
        id={`${prefix}jitter`}
        heading="Jitter buffer"
        help="Blue is how long packets wait for the ear, red what WebRTC prefers. Blue well above red means a choppy call."
        chart={charts.buffer}
        unit="ms"
        floor={40}
        empty="This app reported no jitter buffer."
      />
      <CallGraph {...shared} bands={bands} id={`${prefix}delay`} heading="Round trip time" help="From the app to the other end of its connection and back." chart={charts.rtt} unit="ms" floor={340} empty="No round trip was measured." />
      <CallGraph
        {...shared}
        id={`${prefix}audio`}
        heading="Audio levels"
        help={`Blue is the microphone of ${shortName(shared.side, call)}, red what they hear. A flat line while the other side talks is one-way audio.`}
        chart={charts.audio}
        unit=""
        floor={0.05}
        empty="This app reported no audio levels."
      />
      {isEmpty(charts.loss) ? null : <CallGraph {...shared} id={`${prefix}loss`} heading="Loss and concealment" help="What did not arrive, and how much of the sound was made up to hide it." chart={charts.loss} unit="%" floor={6} empty="" />}
      {isEmpty(charts.mos) ? null : <CallGraph {...shared} id={`${prefix}mos`} heading="MOS" help="Of each interval of what is heard; 4.5 is the best." chart={charts.mos} unit="" floor={5} empty="" />}
    </>
  );
}
