import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { type Column, DataTable } from '../components/DataTable';
import { Dialog } from '../components/Dialog';
import { NumberLink, OwnerLink, PlaceLink, useChanged } from '../components/Directory';
import { Actions, Form, TextField, useForm } from '../components/Form';
import { PortForm } from '../components/PortForm';
import { Empty, Facts, Failure, Id, Loading, Moment, Section, Tag, useTitle } from '../components/ui';
import { directory, type PortRequest, type PortState } from '../directory';
import { phone } from '../format';
import { day, next, portStateWord, portTone, portTypeWord, steps } from '../ports';

const route = getRouteApi('/c/$company/ports/$port');

/** PortPage shows a port request, what happened to it, and takes it further. */
export function PortPage() {
  const { company, port } = route.useParams();
  const found = useQuery({ queryKey: ['port', company, port], queryFn: ({ signal }) => directory.port(company, port, signal) });
  useTitle(found.data ? `Port request ${found.data.batch_id || found.data.id}` : 'Port request');
  if (found.isPending) return <Loading what="the port request" />;
  if (found.isError && !found.data) return <Failure error={found.error} what="port request" retry={() => void found.refetch()} />;
  const p = found.data!;
  const numbers = p.numbers ?? [];
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/ports" params={{ company }}>
          Port requests
        </Link>
      </p>
      <Head company={company} port={p} />
      {p.state === 'rejected' && p.rejection_reason ? (
        <p className="refusal" role="note">
          Rejected: {p.rejection_reason}
        </p>
      ) : null}
      <Section heading="Port request">
        <Facts
          items={[
            ['Batch ID', p.batch_id ? <Id key="b" text={p.batch_id} what="batch id" /> : null],
            ['LNP ID', p.lnp_id ? <Id key="l" text={p.lnp_id} what="LNP id" /> : null],
            ['Port type', portTypeWord(p.port_type)],
            ['# of DIDs', p.dids],
            ['Carrier', p.carrier],
            ['Office', p.office ? <PlaceLink key="o" company={company} kind="offices" id={p.office} /> : null],
            ['Assigned when complete', p.target ? <OwnerLink key="t" company={company} owner={p.target} /> : p.port_type === 'port_in' ? 'to nobody: into the pool' : null],
            ['FOC date', day(p.foc_date)],
            ['Date requested', p.requested_at ? <Moment key="r" at={p.requested_at} full /> : null],
            ['Date modified', p.modified_at ? <Moment key="m" at={p.modified_at} full /> : null],
          ]}
        />
      </Section>
      <Section heading="Numbers" count={numbers.length}>
        {numbers.length === 0 ? <Empty>No number is in it yet.</Empty> : null}
        <ul className="plain number-list">
          {numbers.map((n) => (
            <li key={n}>
              {held(p) ? <NumberLink company={company} number={n} /> : <span className="num">{phone(n)}</span>}
            </li>
          ))}
        </ul>
      </Section>
      <Section heading="What happened">
        {p.history?.length ? <DataTable label="What happened" rows={p.history} columns={historyColumns} rowKey={(h) => `${h.at} ${h.to}`} /> : <Empty>Nothing yet.</Empty>}
      </Section>
    </div>
  );
}

/** held says that the numbers of a request are among the company's own. */
const held = (p: PortRequest): boolean => (p.port_type === 'port_in' ? p.state === 'submitted' || p.state === 'foc_received' || p.state === 'completed' : p.state !== 'completed');

type Step = NonNullable<PortRequest['history']>[number];

const historyColumns: Column<Step>[] = [
  { id: 'at', header: 'Time', lead: true, cell: (h) => <Moment at={h.at} full /> },
  { id: 'from', header: 'From', cell: (h) => (h.from ? portStateWord(h.from) : <span className="none">–</span>) },
  { id: 'to', header: 'To', cell: (h) => <Tag tone={portTone(h.to)}>{portStateWord(h.to)}</Tag> },
  { id: 'by', header: 'By', cell: (h) => (typeof h.by === 'string' ? h.by : h.by?.name) || <span className="none">–</span> },
  { id: 'text', header: 'Remark', cell: (h) => <span className="break">{h.text || <span className="none">–</span>}</span> },
];

function Head({ company, port: p }: { company: string; port: PortRequest }) {
  const [open, setOpen] = useState<'' | 'edit' | PortState>('');
  const close = () => setOpen('');
  const to = next(p);
  return (
    <div className="title-row">
      <h1>
        Port request {p.batch_id || p.id} <Tag tone={portTone(p.state)}>{portStateWord(p.state)}</Tag>
      </h1>
      <div className="actions">
        {p.state === 'completed' || p.state === 'cancelled' ? null : (
          <button type="button" onClick={() => setOpen('edit')}>
            Edit
          </button>
        )}
        {to.map((s, i) => (
          <button key={s} type="button" className={s === 'cancelled' || s === 'rejected' ? 'danger-quiet' : i === 0 ? 'primary' : undefined} onClick={() => setOpen(s)}>
            {steps[s] ?? portStateWord(s)}
          </button>
        ))}
      </div>
      {open === 'edit' ? <PortForm company={company} port={p} onClose={close} onDone={close} /> : null}
      {open !== '' && open !== 'edit' ? <Transition company={company} port={p} to={open} onClose={close} /> : null}
    </div>
  );
}

const labels = { to: 'State', foc_date: 'FOC date', reason: 'Reason' };

const effects: Partial<Record<PortState, string>> = {
  submitted: 'The numbers are shown as port pending until the request is completed or cancelled.',
  foc_received: 'The firm order commitment: the day on which the numbers move.',
  completed: 'The numbers become the company’s own and are assigned.',
  cancelled: 'The numbers are left as they were before the request.',
  rejected: 'The other carrier has refused. The request can be changed and submitted again.',
};

/** Transition asks what a state needs before a request goes to it. */
function Transition({ company, port, to, onClose }: { company: string; port: PortRequest; to: PortState; onClose: () => void }) {
  const client = useQueryClient();
  const changed = useChanged(company);
  const form = useForm({
    initial: { foc_date: port.foc_date?.slice(0, 10) ?? '', reason: '' },
    labels,
    send: (v) => directory.transitionPort(company, port.id, { to, ...(to === 'foc_received' ? { foc_date: v.foc_date } : {}), ...(v.reason.trim() ? { reason: v.reason.trim() } : {}) }),
    done: (p) => {
      client.setQueryData(['port', company, port.id], p);
      changed();
      onClose();
    },
  });
  return (
    <Dialog heading={steps[to] ?? portStateWord(to)} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        {effects[to] ? <p>{port.port_type === 'port_out' && to === 'completed' ? 'The numbers leave the company.' : effects[to]}</p> : null}
        {to === 'foc_received' ? <TextField name="foc_date" type="date" required value={form.values.foc_date} onChange={(foc_date) => form.set({ foc_date })} /> : null}
        <TextField name="reason" required={to === 'rejected'} value={form.values.reason} onChange={(reason) => form.set({ reason })} hint="Kept with what happened to the request." />
        <Actions busy={form.busy} danger={to === 'cancelled' || to === 'rejected'} label={steps[to] ?? 'Save'} onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
