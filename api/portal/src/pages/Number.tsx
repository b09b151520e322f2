import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { ApiError } from '../api';
import type { Column } from '../components/DataTable';
import { OwnerLink } from '../components/Directory';
import { List } from '../components/List';
import { TransferButton } from '../components/Transfer';
import { Facts, Failure, Id, Loading, Moment, Section, Tag, useTitle } from '../components/ui';
import { directory, type Owner, type Tenure } from '../directory';
import { fullLocalTime, phone, title } from '../format';
import { fromLocalInput, toLocalInput } from '../urlstate';
import { statusTone, statusWord } from './Numbers';

const route = getRouteApi('/c/$company/numbers/$number');

/** NumberPage tells whose a number is and was. */
export function NumberPage() {
  const { company, number } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const found = useQuery({ queryKey: ['number', company, number], queryFn: ({ signal }) => directory.number(company, number, signal) });
  useTitle(phone(number));
  if (found.isPending) return <Loading what="the number" />;
  if (found.isError && !found.data) return <Failure error={found.error} what="number" retry={() => void found.refetch()} />;
  const n = found.data!;
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/numbers" params={{ company }}>
          Numbers
        </Link>
      </p>
      <div className="title-row">
        <h1>
          <span className="num">{phone(n.number)}</span> <Tag tone={statusTone(n.status)}>{statusWord(n.status)}</Tag>
        </h1>
        <div className="actions">
          <Link to="/c/$company/calls" params={{ company }} search={{ number: n.number }} className="button">
            Calls
          </Link>
          {n.status === 'port_pending' ? null : <TransferButton company={company} number={n.number} owner={n.owner as Owner | null} className="primary" />}
        </div>
      </div>
      <Section heading="Number">
        <Facts
          items={[
            ['Assigned to', <OwnerLink key="o" company={company} owner={n.owner} />],
            ['Since', n.since ? <Moment key="s" at={n.since} full /> : null],
            ['DID type', title(n.type)],
            ['E.164', <Id key="e" text={n.number} what="number" />],
            ['National', n.national],
            ['Area code', n.area_code],
            ['Prefix', n.prefix],
            ['Region', n.region],
          ]}
        />
      </Section>
      <Section heading="Who had it">
        <OwnerAt key={search.at} company={company} number={n.number} at={search.at} onAsk={(at) => void navigate({ search: { at }, replace: true })} />
        <List
          what="owners"
          queryKey={['number-history', company, n.number]}
          load={(p, signal) => directory.numberHistory(company, n.number, p, signal)}
          columns={columns(company)}
          rowKey={(t) => t.from}
          empty="Nothing was written down of this number yet."
        />
      </Section>
    </div>
  );
}

const columns = (company: string): Column<Tenure>[] => [
  { id: 'owner', header: 'Assigned to', lead: true, cell: (t) => <OwnerLink company={company} owner={t.owner} /> },
  { id: 'status', header: 'Status', cell: (t) => <Tag tone={statusTone(t.status)}>{statusWord(t.status)}</Tag> },
  { id: 'from', header: 'From', cell: (t) => <Moment at={t.from} full /> },
  { id: 'until', header: 'Until', cell: (t) => (t.until ? <Moment at={t.until} full /> : <Tag tone="live">now</Tag>) },
  { id: 'by', header: 'By', cell: (t) => t.by?.name || <span className="none">–</span> },
  { id: 'reason', header: 'Reason', cell: (t) => <span className="break">{t.reason || <span className="none">–</span>}</span> },
];

/** OwnerAt answers who had the number at a moment, such as that of a call. */
function OwnerAt({ company, number, at, onAsk }: { company: string; number: string; at?: string; onAsk: (at: string | undefined) => void }) {
  const [text, setText] = useState(toLocalInput(at));
  const asked = useQuery({ queryKey: ['number-history', company, number, 'at', at], queryFn: ({ signal }) => directory.ownerAt(company, number, at!, signal), enabled: !!at });
  const nobody = asked.isError && asked.error instanceof ApiError && asked.error.status === 404;
  return (
    <>
      <form
        className="filters"
        onSubmit={(e) => {
          e.preventDefault();
          onAsk(fromLocalInput(text));
        }}
      >
        <label className="field">
          <span>Who had it at</span>
          <input type="datetime-local" value={text} onChange={(e) => setText(e.target.value)} />
        </label>
        <button type="submit" disabled={!text && !at}>
          Ask
        </button>
      </form>
      {at ? (
        <p className="answer" role="status">
          {asked.isPending ? 'Asking…' : null}
          {asked.data ? (
            <>
              At {fullLocalTime(at)} it was assigned to <OwnerLink company={company} owner={asked.data.owner} />.
            </>
          ) : null}
          {nobody ? `At ${fullLocalTime(at)} the company did not have it.` : null}
          {asked.isError && !nobody ? `Cannot tell: ${asked.error.message}` : null}
        </p>
      ) : null}
    </>
  );
}
