import { getRouteApi } from '@tanstack/react-router';
import { api, type IngestAccount } from '../api';
import type { Column } from '../components/DataTable';
import { List } from '../components/List';
import { Moment, Section, Select, Tag, useTitle } from '../components/ui';
import { words } from '../format';
import { rangeOptions, span } from '../urlstate';

const route = getRouteApi('/c/$company/ingest');

const listeners: Record<string, string> = {
  hep_udp: 'HEP over UDP',
  hep_tcp: 'HEP over TCP',
  rtcp_udp: 'RTCP',
  sip_udp: 'SIP over UDP',
  sip_tcp: 'SIP over TCP',
  sip_tls: 'SIP over TLS',
  sip_ws: 'SIP over WebSocket',
  sip_wss: 'SIP over WebSocket, TLS',
  ws_rtcstats: 'rtcstats',
  capture: 'Imported files',
  http_events: 'Call events',
  http_webrtc: 'WebRTC statistics',
};

/** lost is what was sent to Earshot and is not in it. */
const lost = (a: IngestAccount) => a.dropped + a.kernel_dropped;

function Reasons({ account, outcome }: { account: IngestAccount; outcome: 'rejected' | 'dropped' }) {
  const reasons = account.reasons.filter((r) => r.outcome === outcome).map((r) => ({ reason: r.reason, count: r.count }));
  if (outcome === 'dropped' && account.kernel_dropped > 0) reasons.push({ reason: 'by_the_kernel', count: account.kernel_dropped });
  if (reasons.length === 0) return <span className="muted">none</span>;
  return (
    <ul className="reasons">
      {reasons.map((r) => (
        <li key={r.reason}>
          {r.count.toLocaleString()} {words(r.reason)}
        </li>
      ))}
    </ul>
  );
}

const columns: Column<IngestAccount>[] = [
  { id: 'agent', header: 'Agent', lead: true, cell: (a) => a.agent || <span className="muted">not known</span> },
  { id: 'listener', header: 'By', cell: (a) => listeners[a.listener] ?? words(a.listener) },
  { id: 'received', header: 'Received', numeric: true, cell: (a) => a.received.toLocaleString() },
  { id: 'produced', header: 'Kept', numeric: true, cell: (a) => a.produced.toLocaleString() },
  { id: 'rejected', header: 'Could not be used', cell: (a) => <Reasons account={a} outcome="rejected" /> },
  {
    id: 'dropped',
    header: 'Lost',
    cell: (a) => (
      <>
        {lost(a) > 0 ? <Tag tone="alarm">{lost(a).toLocaleString()} lost</Tag> : null}
        <Reasons account={a} outcome="dropped" />
      </>
    ),
  },
  { id: 'last', header: 'Last heard', cell: (a) => <Moment at={a.last_at} relative /> },
];

/** IngestPage shows for each agent what it sent and what became of it. */
export function IngestPage() {
  useTitle('Ingest');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const range = search.range ?? '1h';
  return (
    <div className="page">
      <h1>Ingest</h1>
      <p className="muted">
        Every packet, request and file is accounted for: received is what was kept, what could not be used, and what was lost. What has just come is not
        yet kept, so that the figures may differ by a few.
      </p>
      <Section heading="Agents, losses first">
        <div className="filters">
          <Select
            label="Time"
            value={range}
            options={rangeOptions}
            onChange={(r) => void navigate({ search: { range: r === '1h' ? undefined : r }, replace: true })}
          />
        </div>
        <List
          what="agents"
          queryKey={['ingest', company, range]}
          load={(_, signal) => api.ingest(company, span({ range }, '1h', Date.now()), signal)}
          columns={columns}
          rowKey={(a) => `${a.listener} ${a.agent}`}
          refreshMs={5000}
          empty="Nothing was received in this time. Point a capture agent, a phone or the browser SDK here, or import a capture."
        />
      </Section>
    </div>
  );
}
