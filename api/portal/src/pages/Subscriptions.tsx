import { useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import type { Column } from '../components/DataTable';
import { Dialog } from '../components/Dialog';
import { Actions, ChecksField, Form, TextField, useForm } from '../components/Form';
import { List } from '../components/List';
import { Secret } from '../components/Secret';
import { complete, type Target, TargetFields } from '../components/Target';
import { Moment, Section, Tag, useTitle } from '../components/ui';
import { title, words } from '../format';
import { said } from '../problem';
import { settings, subscribable, type Subscription } from '../settings';

const route = getRouteApi('/c/$company/settings/subscriptions/');

export function StateTag({ subscription: s }: { subscription: Subscription }) {
  if (!s.enabled) return <Tag>Off</Tag>;
  switch (s.state) {
    case 'ok':
      return <Tag tone="ok">Delivers</Tag>;
    case 'failing':
      return <Tag tone="alarm">Failing</Tag>;
    default:
      return <Tag tone="warn">Disabled</Tag>;
  }
}

export const typesText = (types: string[]): string => (types.includes('*') ? 'all events' : types.map(words).join(', '));

const columns = (company: string): Column<Subscription>[] => [
  {
    id: 'url',
    header: 'Goes to',
    lead: true,
    cell: (s) => (
      <span className="stack">
        <Link to="/c/$company/settings/subscriptions/$subscription" params={{ company, subscription: s.id }} className="break">
          {s.url}
        </Link>
        {s.description ? <span className="muted">{s.description}</span> : null}
      </span>
    ),
  },
  { id: 'state', header: 'State', cell: (s) => <StateTag subscription={s} /> },
  {
    id: 'target',
    header: 'Of',
    cell: (s) => (
      <span>
        {title(s.target.kind)} {s.target.id}
      </span>
    ),
  },
  { id: 'types', header: 'Events', cell: (s) => <span className="break">{typesText(s.types)}</span> },
  { id: 'pending', header: 'Waiting', numeric: true, cell: (s) => s.pending.toLocaleString('en') },
  { id: 'last', header: 'Last delivered', cell: (s) => <Moment at={s.last_success_at} relative /> },
];

/** SubscriptionsPage lists the programs that are told of call events. */
export function SubscriptionsPage() {
  useTitle('Subscriptions');
  const { company } = route.useParams();
  const [adding, setAdding] = useState(false);
  return (
    <div className="page">
      <h1>Subscriptions</h1>
      <p className="muted">
        Each event is posted to the address, signed as Standard Webhooks describe, in the order of its call and again for a day until it is taken. The id of an event stays the same, so that a receiver can tell a repeat.
      </p>
      <Section
        heading="Subscriptions"
        aside={
          <button type="button" onClick={() => setAdding(true)}>
            Add subscription
          </button>
        }
      >
        <List
          what="subscriptions"
          queryKey={['subscriptions', company]}
          load={(p, signal) => settings.subscriptions(company, p, signal)}
          columns={columns(company)}
          rowKey={(s) => s.id}
          refreshMs={5000}
          empty="No program is told of call events yet."
        />
      </Section>
      {adding ? <Add company={company} close={() => setAdding(false)} /> : null}
    </div>
  );
}

const labels = { url: 'Address', 'target.kind': 'Kind', 'target.id': 'This', types: 'Event types', description: 'What it is for' };

function Add({ company, close }: { company: string; close: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [made, setMade] = useState<Subscription>();
  const form = useForm({
    initial: { url: '', target: { kind: 'company', id: '', name: '' } as Target, types: [] as string[], description: '' },
    labels,
    send: ({ url, target, types, description }) =>
      settings.addSubscription(company, {
        url: url.trim(), target: target.kind === 'company' ? { kind: 'company' } : { kind: target.kind, id: target.id }, types: types.length > 0 ? types : ['*'], description: description.trim(),
      }),
    done: (s) => {
      void client.invalidateQueries({ queryKey: ['subscriptions', company] });
      setMade(s);
    },
  });
  if (made) {
    const open = () => void navigate({ to: '/c/$company/settings/subscriptions/$subscription', params: { company, subscription: made.id } });
    return (
      <Dialog heading="The secret of the subscription" onClose={open}>
        <Secret secret={made.secret ?? ''} done={open} />
      </Dialog>
    );
  }
  const problems = said(form.error, labels).fields;
  return (
    <Dialog heading="Add a subscription" onClose={close} busy={form.busy}>
      <Form form={form}>
        <TextField name="url" required value={form.values.url} placeholder="https://example.com/earshot" onChange={(url) => form.set({ url })} />
        <TargetFields
          company={company}
          legend="Events of"
          value={form.values.target}
          kinds={['company', 'office', 'department', 'contact_center', 'user']}
          names={{ company: 'The whole company' }}
          problems={{ kind: problems['target.kind'], id: problems['target.id'] }}
          onChange={(target) => form.set({ target })}
        />
        <ChecksField name="types" chosen={form.values.types} options={subscribable.map((t): [string, string] => [t, title(t)])} empty="" onChange={(types) => form.set({ types })} />
        <p className="hint">None chosen: all of them.</p>
        <TextField name="description" value={form.values.description} onChange={(description) => form.set({ description })} />
        <Actions busy={form.busy} label="Add" waiting="Adding…" disabled={!complete(form.values.target)} onCancel={close} />
      </Form>
    </Dialog>
  );
}
