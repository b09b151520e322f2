import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, type Percentiles, type QualityFigures, type QualitySeries } from '../api';
import { type Column, DataTable } from '../components/DataTable';
import { Export } from '../components/Export';
import { TrendChart } from '../components/TrendChart';
import { BandBadge, Empty, Failure, Loading, Section, Select, TextFilter, useTitle } from '../components/ui';
import { count, quantity, timeZone, title, words } from '../format';
import { badShare, bands, change, filters, groupings, groupName, isFilter, percent, verdicts, verdictStack, weekBefore } from '../quality';
import { intervalSeconds } from '../trend';
import { fromLocalInput, given, rangeOptions, ranges, span, toLocalInput } from '../urlstate';

const route = getRouteApi('/c/$company/quality');

const intervals: [string, string][] = [
  ['1m', '1 minute'], ['5m', '5 minutes'], ['15m', '15 minutes'], ['1h', '1 hour'], ['3h', '3 hours'], ['6h', '6 hours'], ['12h', '12 hours'], ['1d', '1 day'],
];
const orders: [string, string][] = [['calls', 'Most calls'], ['bad', 'Most bad calls, by share'], ['one_way', 'Most one-way audio, by share']];

interface Row extends QualitySeries {
  id: string;
  label: string;
  before: QualityFigures | null;
}

export function QualityPage() {
  useTitle('Quality');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (to: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(to) }), replace: true });
  };
  const groupBy = search.group_by ?? 'office';
  const custom = search.range === 'custom' || (!search.range && (search.from !== undefined || search.to !== undefined));
  const rangeKey = custom ? 'custom' : (search.range ?? '24h');
  const interval = search.interval ?? ranges[rangeKey]?.interval ?? '1h';
  const order = search.order ?? 'calls';
  const only = {
    office: search.office, department: search.department, contact_center: search.contact_center, app_version: search.app_version, platform: search.platform,
    endpoint: search.endpoint, network: search.network, user: search.user, direction: search.direction,
  };
  // By share, a group of a few calls would always come first.
  const asked = { group_by: groupBy, interval, order, min_calls: order === 'calls' ? undefined : 20, time_zone: timeZone(), ...only };

  const trend = useQuery({
    queryKey: ['quality', company, asked, rangeKey, search.from, search.to],
    queryFn: ({ signal }) => api.qualityTrend(company, { ...asked, ...span(search, '24h', Date.now()) }, signal),
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  });
  const before = useQuery({
    queryKey: ['quality', company, asked, rangeKey, search.from, search.to, 'week before'],
    // One bucket would do; the day is the widest there is.
    queryFn: ({ signal }) => api.qualityTrend(company, { ...asked, interval: '1d', top: 50, order: 'calls', min_calls: undefined, ...weekBefore(trend.data!) }, signal),
    enabled: trend.data !== undefined,
    staleTime: 300_000,
    placeholderData: keepPreviousData,
  });

  // While another grouping loads, the table is still of the one before.
  const shownBy = trend.data?.group_by ?? groupBy;
  const rows = useMemo((): Row[] => {
    if (!trend.data) return [];
    const shown = trend.data.series.filter((s) => !s.other).length;
    const past = new Map((before.data?.group_by === shownBy ? before.data.series : []).filter((s) => !s.other).map((s) => [s.key, s]));
    const lines: Row[] = trend.data.series.map((s) => ({
      ...s, id: s.other ? 'other' : `key ${s.key}`, label: groupName(shownBy, s, trend.data.groups, shown), before: (s.other ? undefined : past.get(s.key)) ?? null,
    }));
    return [...lines, { ...trend.data.total, id: 'total', label: 'All calls', before: before.data?.total ?? null }];
  }, [trend.data, before.data, shownBy]);
  const focus = rows.find((r) => r.id === search.line) ?? rows.at(-1);
  const drawn = useMemo(() => (focus ? verdictStack(focus) : null), [focus]);
  const total = trend.data?.total;
  // The list of calls is of the time that was counted.
  const between = { from: search.from ?? trend.data?.from, to: search.to ?? trend.data?.to };

  const columns: Column<Row>[] = [
    {
      id: 'group',
      header: groupings.find(([id]) => id === shownBy)?.[1] ?? 'Group',
      lead: true,
      cell: (r) => (
        <button type="button" className="link" aria-pressed={focus?.id === r.id} title="Show in the graph" onClick={() => set({ line: r.id === 'total' ? undefined : r.id })}>
          {r.label}
        </button>
      ),
    },
    { id: 'calls', header: 'Calls', numeric: true, cell: (r) => count(r.calls) },
    { id: 'verdicts', header: 'Verdicts', cell: (r) => <Verdicts of={r} /> },
    { id: 'bad', header: 'Bad', numeric: true, cell: (r) => percent(badShare(r)) },
    { id: 'before', header: 'Week before, points', numeric: true, cell: (r) => change(badShare(r), r.before ? badShare(r.before) : null) },
    { id: 'one_way', header: 'One-way', numeric: true, cell: (r) => percent(r.one_way_share) },
    { id: 'rtt', header: 'Round trip p50 / p95 / p99', numeric: true, cell: (r) => <Spread of={r.rtt_ms} unit="ms" /> },
    { id: 'jitter', header: 'Jitter p95', numeric: true, cell: (r) => quantity(r.jitter_ms?.p95, 'ms') },
    { id: 'loss', header: 'Loss p95', numeric: true, cell: (r) => quantity(r.loss_percent?.p95, '%') },
    { id: 'mos', header: 'MOS p50 / p5', numeric: true, cell: (r) => (r.mos ? `${quantity(r.mos.p50)} / ${quantity(r.mos.p95)}` : '–') },
    {
      id: 'more',
      header: 'More',
      cell: (r) => {
        if (!isFilter(shownBy) || r.other || r.id === 'total' || !r.key) return <span className="none">–</span>;
        if (shownBy === 'user') {
          return (
            <Link to="/c/$company/calls" params={{ company }} search={{ user: r.key, ...between }} aria-label={`Calls of ${r.label}`}>
              Calls
            </Link>
          );
        }
        return (
          <button type="button" className="link" aria-label={`Users of ${r.label}`} onClick={() => set({ [shownBy]: r.key, group_by: 'user', line: undefined })}>
            Users
          </button>
        );
      },
    },
  ];

  return (
    <div className="page">
      <h1>Quality</h1>
      <Section
        heading={`${focus && focus.id !== 'total' ? focus.label : 'All calls'} over time`}
        aside={total ? <span className="muted">{count(total.calls)} ended calls</span> : null}
      >
        <div className="filters">
          <Select label="Group by" value={groupBy} options={groupings} onChange={(g) => set({ group_by: g === 'office' ? undefined : g, line: undefined })} />
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
          <Select label="First" value={order} options={orders} onChange={(o) => set({ order: o === 'calls' ? undefined : o, line: undefined })} />
          {filters
            .filter((f) => search[f])
            .map((f) => (
              <button key={f} type="button" className="quiet" aria-label={`No longer only ${words(f)} ${search[f]}`} onClick={() => set({ [f]: undefined })}>
                {title(f)}: {search[f]} ✕
              </button>
            ))}
          {trend.data ? <Export company={company} route="quality/trend" what="quality" filters={{ ...asked, from: trend.data.from, to: trend.data.to }} /> : null}
        </div>
        {trend.isPending ? <Loading what="the trend" /> : null}
        {trend.isError && !trend.data ? <Failure error={trend.error} what="trend" retry={() => void trend.refetch()} /> : null}
        {total && total.calls === 0 ? <Empty>No call with a final verdict began in this time.</Empty> : null}
        {trend.data && drawn && focus && focus.calls > 0 ? (
          <div className="trend">
            <TrendChart stack={drawn} bucketSeconds={intervalSeconds(trend.data.interval)} label={`Calls by verdict over time, ${focus.label}: ${verdicts(focus)}`} />
            <ul className="trend-keys">
              {bands.map((b) => (
                <li key={b}>
                  <i style={{ background: `var(--fill-${b})` }} aria-hidden="true" />
                  <Link to="/c/$company/calls" params={{ company }} search={{ verdict: b, state: 'ended', user: search.user, direction: search.direction, ...between }} title="List these calls of the company">
                    <BandBadge band={b} />
                  </Link>
                  <b className="num">
                    {count(focus.verdicts[b])} <span className="muted">{percent(focus.calls ? (focus.verdicts[b] ?? 0) / focus.calls : null)}</span>
                  </b>
                </li>
              ))}
            </ul>
          </div>
        ) : null}
      </Section>
      {total && total.calls > 0 ? (
        <Section heading={`By ${words(shownBy)}`} count={trend.data?.groups}>
          <DataTable label={`Quality by ${words(shownBy)}`} rows={rows} columns={columns} rowKey={(r) => r.id} />
          <p className="note muted">
            Of ended calls whose verdict is final. Bad counts bad and unacceptable ones. Percentiles are over calls: of each its median round trip, the 95th percentile of its jitter, its loss and
            its average MOS; they are within 1 % of the exact ones.
          </p>
        </Section>
      ) : null}
    </div>
  );
}

/** Verdicts is a bar of the shares of verdicts. */
function Verdicts({ of }: { of: QualityFigures }) {
  if (of.calls === 0) return <span className="none">–</span>;
  return (
    <div className="share share-cell" role="img" aria-label={verdicts(of)} title={verdicts(of)}>
      {bands
        .filter((b) => (of.verdicts[b] ?? 0) > 0)
        .map((b) => (
          <span key={b} className={`fill-${b}`} style={{ flexGrow: of.verdicts[b] }} />
        ))}
    </div>
  );
}

function Spread({ of, unit }: { of: Percentiles | null; unit: string }) {
  if (!of) return <>–</>;
  return (
    <>
      {quantity(of.p50)} / {quantity(of.p95)} / {quantity(of.p99, unit)}
    </>
  );
}
