import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { CallLink } from '../components/CallColumns';
import type { Column } from '../components/DataTable';
import { Dialog } from '../components/Dialog';
import { Actions, Form, useForm } from '../components/Form';
import { List } from '../components/List';
import { Secret } from '../components/Secret';
import { Facts, Failure, Id, Loading, Moment, Refusal, Section, Select, Tag, useTitle } from '../components/ui';
import { title } from '../format';
import { type Delivery, settings, type Subscription } from '../settings';
import { StateTag, typesText } from './Subscriptions';

const route = getRouteApi('/c/$company/settings/subscriptions/$subscription');

/** SubscriptionPage is one receiver, and what it was sent. */
export function SubscriptionPage() {
  useTitle('Subscription');
  const { company, subscription } = route.useParams();
  const found = useQuery({ queryKey: ['subscription', company, subscription], queryFn: ({ signal }) => settings.subscription(company, subscription, signal), refetchInterval: 5000 });
  if (found.isPending) return <Loading what="the subscription" />;
  if (found.isError) return <Failure error={found.error} what="subscription" retry={() => void found.refetch()} />;
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/settings/subscriptions" params={{ company }}>
          Subscriptions
        </Link>
      </p>
      <h1>
        <span className="break">{found.data.url}</span> <StateTag subscription={found.data} />
      </h1>
      <About company={company} subscription={found.data} />
      <Deliveries company={company} subscription={subscription} />
    </div>
  );
}

function About({ company, subscription: s }: { company: string; subscription: Subscription }) {
  const client = useQueryClient();
  const [secret, setSecret] = useState('');
  const [removing, setRemoving] = useState(false);
  const again = () => {
    for (const key of ['subscription', 'subscriptions', 'deliveries']) void client.invalidateQueries({ queryKey: [key, company] });
  };
  const act = useMutation({
    mutationFn: async (what: 'test' | 'rotate' | 'switch') => {
      if (what === 'test') await settings.testSubscription(company, s.id);
      if (what === 'switch') await settings.changeSubscription(company, s.id, { enabled: !s.enabled });
      if (what === 'rotate') setSecret((await settings.rotateSecret(company, s.id)).secret ?? '');
    },
    onSettled: again,
  });
  return (
    <Section
      heading="Subscription"
      aside={
        <span className="flags">
          <button type="button" disabled={act.isPending} onClick={() => act.mutate('test')}>
            Send a test
          </button>
          <button type="button" disabled={act.isPending} onClick={() => act.mutate('rotate')}>
            New secret
          </button>
          <button type="button" disabled={act.isPending} onClick={() => act.mutate('switch')}>
            Turn {s.enabled ? 'off' : 'on'}
          </button>
          <button type="button" onClick={() => setRemoving(true)}>
            Delete
          </button>
        </span>
      }
    >
      <Refusal error={act.error} />
      <Facts
        items={[
          ['Events of', `${title(s.target.kind)} ${s.target.id ?? ''}`],
          ['Events', typesText(s.types)],
          ['What it is for', s.description],
          ['Waiting', s.pending.toLocaleString('en')],
          ['Last delivered', <Moment key="last" at={s.last_success_at} relative />],
          ['Why it is off', s.disabled_reason],
          ['Last error', s.last_error],
          ['Old secret also signs until', s.previous_secret_until ? <Moment key="old" at={s.previous_secret_until} /> : null],
          ['Failing since', s.failing_since ? <Moment key="failing" at={s.failing_since} relative /> : null],
          ['Created', <Moment key="created" at={s.created_at} full />],
          ['Id', <Id key="id" text={s.id} what="id of the subscription" />],
        ]}
      />
      {secret ? (
        <Dialog heading="The new secret" onClose={() => setSecret('')}>
          <Secret secret={secret} done={() => setSecret('')} />
        </Dialog>
      ) : null}
      {removing ? <Remove company={company} subscription={s} close={() => setRemoving(false)} /> : null}
    </Section>
  );
}

function Remove({ company, subscription: s, close }: { company: string; subscription: Subscription; close: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const form = useForm({
    initial: {},
    labels: {},
    send: () => settings.removeSubscription(company, s.id),
    done: () => {
      void client.invalidateQueries({ queryKey: ['subscriptions', company] });
      void navigate({ to: '/c/$company/settings/subscriptions', params: { company } });
    },
  });
  return (
    <Dialog heading="Delete the subscription?" onClose={close} busy={form.busy}>
      <Form form={form}>
        <p>{s.pending > 0 ? `${s.pending.toLocaleString('en')} events that wait for this receiver are not delivered any more.` : 'Nothing waits for this receiver.'}</p>
        <Actions busy={form.busy} label="Delete" waiting="Deleting…" danger onCancel={close} />
      </Form>
    </Dialog>
  );
}

const tone = { pending: 'warn', delivered: 'ok', dead: 'alarm' } as const;

function Deliveries({ company, subscription }: { company: string; subscription: string }) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const client = useQueryClient();
  const again = useMutation({
    mutationFn: (delivery: string) => settings.redeliver(company, subscription, delivery),
    onSettled: () => client.invalidateQueries({ queryKey: ['deliveries', company] }),
  });
  const columns: Column<Delivery>[] = [
    { id: 'at', header: 'Event of', lead: true, cell: (d) => <Moment at={d.created_at} full /> },
    { id: 'type', header: 'Event', cell: (d) => <Tag>{title(d.type)}</Tag> },
    {
      id: 'call',
      header: 'Call',
      cell: (d) => (d.call ? <CallLink company={company} call={d.call} /> : <span className="none">–</span>),
    },
    { id: 'state', header: 'State', cell: (d) => <Tag tone={tone[d.state]}>{title(d.state)}</Tag> },
    {
      id: 'attempts',
      header: 'Attempts',
      cell: (d) =>
        d.attempts.length === 0 ? (
          <span className="none">none yet</span>
        ) : (
          <details>
            <summary>
              {d.attempt_count}, last {d.attempts.at(-1)!.status || d.attempts.at(-1)!.error}
            </summary>
            <ol className="stack">
              {d.attempts.map((a) => (
                <li key={a.at}>
                  <Moment at={a.at} /> {a.status || ''} {a.error} <span className="muted">{a.took_ms} ms</span>
                </li>
              ))}
            </ol>
          </details>
        ),
    },
    { id: 'next', header: 'Next attempt', cell: (d) => (d.state === 'pending' ? <Moment at={d.next_attempt_at} relative /> : <span className="none">–</span>) },
    {
      id: 'again',
      header: 'Again',
      cell: (d) => (
        <button type="button" disabled={again.isPending || d.state === 'pending'} onClick={() => again.mutate(d.id)}>
          Redeliver
        </button>
      ),
    },
  ];
  return (
    <Section heading="Deliveries">
      <div className="filters">
        <Select
          label="State"
          value={search.state ?? ''}
          options={[['', 'Any'], ['pending', 'Pending'], ['delivered', 'Delivered'], ['dead', 'Dead']]}
          onChange={(s) => void navigate({ search: { state: s || undefined }, replace: true })}
        />
      </div>
      <Refusal error={again.error} />
      <List
        what="deliveries"
        queryKey={['deliveries', company, subscription, search.state]}
        load={(p, signal) => settings.deliveries(company, subscription, { state: search.state, ...p }, signal)}
        columns={columns}
        rowKey={(d) => d.id}
        refreshMs={3000}
        empty="Nothing was sent yet."
      />
    </Section>
  );
}
