import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, type Rejection } from '../api';
import { CallLink, PartyCell } from '../components/CallColumns';
import type { Column } from '../components/DataTable';
import { List } from '../components/List';
import { TrendChart } from '../components/TrendChart';
import { Empty, Failure, Loading, Moment, Section, Select, Tag, TextFilter, useTitle } from '../components/ui';
import { count, phone, timeZone, title, words } from '../format';
import { settings } from '../settings';
import { groups, intervalSeconds, stack } from '../trend';
import { digits, fromLocalInput, given, looksLikeNumber, rangeOptions, ranges, span, toLocalInput } from '../urlstate';

const route = getRouteApi('/c/$company/rejections');

const groupings: [string, string][] = [['reason', 'Reason'], ['agent', 'Agent'], ['department', 'Department'], ['office', 'Office'], ['contact_center', 'Contact centre']];
const intervals: [string, string][] = [
  ['1m', '1 minute'], ['5m', '5 minutes'], ['15m', '15 minutes'], ['30m', '30 minutes'], ['1h', '1 hour'], ['3h', '3 hours'],
  ['6h', '6 hours'], ['12h', '12 hours'], ['1d', '1 day'],
];

/** filters are the groupings of the trend by which the list can be narrowed: all of them. */
const filters = ['reason', 'agent', 'department', 'office', 'contact_center'] as const;
const isFilter = (name: string): name is (typeof filters)[number] => (filters as readonly string[]).includes(name);

export function RejectionsPage() {
  useTitle('Rejections');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  const groupBy = search.group_by ?? 'reason';
  const custom = search.range === 'custom' || (!search.range && (search.from !== undefined || search.to !== undefined));
  const rangeKey = custom ? 'custom' : (search.range ?? '24h');
  const interval = search.interval ?? ranges[rangeKey]?.interval ?? '1h';
  const filter = {
    reason: search.reason, agent: search.agent, department: search.department, office: search.office,
    contact_center: search.contact_center, number: search.number,
  };

  const trend = useQuery({
    queryKey: ['trend', company, groupBy, interval, rangeKey, search.from, search.to],
    queryFn: ({ signal }) =>
      api.rejectionTrend(company, { group_by: groupBy, interval, time_zone: timeZone(), ...span(search, '24h', Date.now()) }, signal),
    refetchInterval: 15_000,
    placeholderData: keepPreviousData,
  });
  const reasons = useQuery({ queryKey: ['reasons', company], queryFn: ({ signal }) => settings.reasons(company, signal), staleTime: Infinity });
  const known = useMemo(() => reasons.data?.items ?? [], [reasons.data]);
  const explained = useMemo(() => new Map(known.map((r) => [r.id, r.explanation])), [known]);
  const shown = useMemo(() => (trend.data ? groups(trend.data) : []), [trend.data]);
  const drawn = useMemo(() => (trend.data ? stack(trend.data, shown) : null), [trend.data, shown]);
  const total = shown.reduce((sum, g) => sum + g.total, 0);

  const columns: Column<Rejection>[] = [
    { id: 'at', header: 'Time', lead: true, cell: (r) => <Moment at={r.at} /> },
    {
      id: 'reason',
      header: 'Reason',
      cell: (r) => (
        <span title={explained.get(r.reason)}>
          <Tag tone="warn">{title(r.reason)}</Tag>
        </span>
      ),
    },
    {
      id: 'agent',
      header: 'Agent',
      cell: (r) => (r.agent && (r.agent.user_id || r.agent.name || r.agent.number) ? <PartyCell party={r.agent} company={company} /> : <span className="none">nobody</span>),
    },
    { id: 'from', header: 'From', cell: (r) => <span className="num">{phone(r.from_number) || '–'}</span> },
    { id: 'to', header: 'To', cell: (r) => <span className="num">{phone(r.to_number) || '–'}</span> },
    { id: 'status', header: 'SIP', numeric: true, cell: (r) => r.sip_status || '–' },
    { id: 'text', header: 'In the platform’s words', cell: (r) => <span className="break">{r.text || r.raw_reason || <span className="none">–</span>}</span> },
    { id: 'call', header: 'Call', cell: (r) => <CallLink company={company} call={r.call_id} /> },
  ];

  return (
    <div className="page">
      <h1>Rejections</h1>
      <Section heading={`By ${words(groupBy)} over time`} aside={<span className="muted">{count(total)} in all</span>}>
        <div className="filters">
          <Select label="Group by" value={groupBy} options={groupings} onChange={(g) => set({ group_by: g === 'reason' ? undefined : g })} />
          <Select
            label="Time"
            value={rangeKey}
            options={[...rangeOptions, ['custom', 'Between…']]}
            onChange={(r) => set({ range: r, from: undefined, to: undefined, interval: undefined })}
          />
          {custom ? (
            <>
              <TextFilter type="datetime-local" label="From" value={toLocalInput(search.from)} onChange={(v) => set({ from: fromLocalInput(v) })} />
              <TextFilter type="datetime-local" label="Until" value={toLocalInput(search.to)} onChange={(v) => set({ to: fromLocalInput(v) })} />
            </>
          ) : null}
          <Select label="Interval" value={interval} options={intervals} onChange={(i) => set({ interval: i })} />
        </div>
        {trend.isPending ? <Loading what="the trend" /> : null}
        {trend.isError && !trend.data ? <Failure error={trend.error} what="trend" retry={() => void trend.refetch()} /> : null}
        {trend.data && total === 0 ? <Empty>No call was rejected in this time.</Empty> : null}
        {trend.data && drawn && total > 0 ? (
          <div className="trend">
            <TrendChart
              stack={drawn}
              bucketSeconds={intervalSeconds(trend.data.interval || interval)}
              label={`Rejections by ${words(groupBy)} over time: ${shown.map((g) => `${g.name} ${g.total}`).join(', ')}`}
            />
            <ul className="trend-keys">
              {shown.map((g) => (
                <li key={g.key || g.name}>
                  <i style={{ background: `var(${g.colour})` }} aria-hidden="true" />
                  {g.key && isFilter(groupBy) ? (
                    <button
                      type="button"
                      className="link"
                      aria-pressed={search[groupBy] === g.key}
                      title={explained.get(g.key) ?? 'List only these below'}
                      onClick={() => set({ [groupBy]: search[groupBy] === g.key ? undefined : g.key })}
                    >
                      {g.name}
                    </button>
                  ) : (
                    <span>{g.name}</span>
                  )}
                  <b className="num">{count(g.total)}</b>
                </li>
              ))}
            </ul>
          </div>
        ) : null}
      </Section>
      <Section heading="Rejected calls">
        <div className="filters">
          <Select
            label="Reason"
            value={search.reason ?? ''}
options={[['', 'Any'], ...known.map((r): [string, string] => [r.id, r.title]), ...(search.reason && !explained.has(search.reason) ? [[search.reason, title(search.reason)] as [string, string]] : [])]}
            onChange={(reason) => set({ reason })}
          />
          <TextFilter label="Number" value={search.number ?? ''} placeholder="+1…" onChange={(n) => set({ number: looksLikeNumber(n) ? digits(n) : n.trim() })} />
          {filters
            .filter((f) => f !== 'reason' && search[f])
            .map((f) => (
              <button key={f} type="button" className="quiet" aria-label={`No longer only ${words(f)} ${search[f]}`} onClick={() => set({ [f]: undefined })}>
                {title(f)}: {shown.find((g) => g.key === search[f])?.name ?? search[f]} ✕
              </button>
            ))}
        </div>
        <List
          what="rejections"
          queryKey={['rejections', company, filter, rangeKey, search.from, search.to]}
          load={(p, signal) => api.rejections(company, { ...filter, ...span(search, '24h', Date.now()), ...p }, signal)}
          columns={columns}
          rowKey={(r) => r.id}
          refreshMs={10_000}
          empty="No rejected call matches."
        />
        {known.length > 0 ? (
          <details className="note">
            <summary>What the reasons mean</summary>
            <dl className="glossary">
              {known.map((r) => (
                <div key={r.id} className="glossary-row">
                  <dt>{r.title}</dt>
                  <dd>{r.explanation}</dd>
                </div>
              ))}
            </dl>
          </details>
        ) : null}
      </Section>
    </div>
  );
}
