import { getRouteApi } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api } from '../api';
import { callColumns } from '../components/CallColumns';
import { List } from '../components/List';
import { Section, Select, TextFilter, useTitle } from '../components/ui';
import { digits, fromLocalInput, given, looksLikeNumber, rangeOptions, span, toLocalInput } from '../urlstate';

const route = getRouteApi('/c/$company/calls');

const verdicts: [string, string][] = [
  ['', 'Any'], ['good', 'Good'], ['acceptable', 'Acceptable'], ['bad', 'Bad'], ['unacceptable', 'Unacceptable'], ['unknown', 'Unknown'],
  ['one_way', 'One-way audio'], ['choppy', 'Choppy'], ['delay', 'Delay'], ['loss', 'Packet loss'],
];

export function CallsPage() {
  useTitle('Calls');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<typeof search>) => {
    void navigate({ search: (s) => ({ ...s, ...given(change) }), replace: true });
  };
  const columns = useMemo(() => callColumns(company), [company]);
  const { range, ...rest } = search;
  const filtered = Object.keys(search).length > 0;
  const custom = range === 'custom' || (!range && (search.from !== undefined || search.to !== undefined));
  return (
    <div className="page">
      <h1>Calls</h1>
      <Section heading="Calls">
        <div className="filters">
          <Select label="Verdict" value={search.verdict ?? ''} options={verdicts} onChange={(verdict) => set({ verdict })} />
          <Select
            label="Direction"
            value={search.direction ?? ''}
            options={[['', 'Any'], ['inbound', 'Inbound'], ['outbound', 'Outbound'], ['internal', 'Internal']]}
            onChange={(direction) => set({ direction })}
          />
          <Select label="State" value={search.state ?? ''} options={[['', 'Any'], ['live', 'Live'], ['ended', 'Ended']]} onChange={(state) => set({ state })} />
          <Select
            label="Rejected"
            value={search.rejected ?? ''}
            options={[['', 'Any'], ['true', 'Rejected'], ['false', 'Not rejected']]}
            onChange={(rejected) => set({ rejected })}
          />
          <TextFilter
            label="Number"
            value={search.number ?? ''}
            placeholder="+1…"
            onChange={(number) => set({ number: looksLikeNumber(number) ? digits(number) : number.trim() })}
          />
          <TextFilter label="Any id" value={search.q ?? ''} placeholder="Call, leg, SIP Call-ID" onChange={(q) => set({ q: q.trim() })} />
          <Select
            label="Started"
            value={custom ? 'custom' : (range ?? '')}
            options={[['', 'Any time'], ...rangeOptions, ['custom', 'Between…']]}
            onChange={(r) => set({ range: r, from: undefined, to: undefined })}
          />
          {custom ? (
            <>
              <TextFilter type="datetime-local" label="From" value={toLocalInput(search.from)} onChange={(v) => set({ from: fromLocalInput(v) })} />
              <TextFilter type="datetime-local" label="Until" value={toLocalInput(search.to)} onChange={(v) => set({ to: fromLocalInput(v) })} />
            </>
          ) : null}
          {filtered ? (
            <button type="button" className="quiet" onClick={() => void navigate({ search: {}, replace: true })}>
              Clear
            </button>
          ) : null}
        </div>
        <List
          what="calls"
          queryKey={['calls', company, search]}
          load={(p, signal) => api.calls(company, { ...rest, ...span(search, null, Date.now()), ...p }, signal)}
          columns={columns}
          rowKey={(c) => c.id}
          refreshMs={1000}
          empty={filtered ? 'No call matches these filters.' : 'No calls yet. Point a capture agent, a phone or an app at Earshot, or import a capture.'}
        />
      </Section>
    </div>
  );
}
