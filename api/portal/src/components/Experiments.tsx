import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { type Experiment, settings } from '../settings';
import { type Column, DataTable } from './DataTable';
import { Dialog } from './Dialog';
import { Actions, Form, TextField, useForm } from './Form';
import { Empty, Failure, Loading, Moment, Refusal, Section, Tag } from './ui';

/** useExperiments reads what is turned on for a company, or for a user of it. */
export const useExperiments = (company: string, user?: string, staleTime?: number) =>
  useQuery({ queryKey: ['experiments', company, user ?? ''], queryFn: ({ signal }) => settings.experiments(company, user, signal), staleTime });

const keyColumn: Column<Experiment> = {
  id: 'key',
  header: 'Experiment',
  lead: true,
  cell: (e) => (
    <span className="stack">
      <code>{e.key}</code>
      {e.description ? <span className="muted">{e.description}</span> : null}
    </span>
  ),
};

function OnOff({ on }: { on: boolean }) {
  return <Tag tone={on ? 'ok' : 'plain'}>{on ? 'On' : 'Off'}</Tag>;
}

/** ExperimentList is what is turned on for a whole company, each with a way to turn it off. */
export function ExperimentList({ company }: { company: string }) {
  const found = useExperiments(company);
  const change = useChange(company);
  const [adding, setAdding] = useState(false);
  const columns: Column<Experiment>[] = [
    keyColumn,
    { id: 'on', header: 'For the company', cell: (e) => <OnOff on={e.effective} /> },
    { id: 'users', header: 'Otherwise for', cell: (e) => (e.users ? `${e.users} ${e.users === 1 ? 'user' : 'users'}` : <span className="none">nobody</span>) },
    {
      id: 'set',
      header: 'Set',
      cell: (e) => (
        <span className="stack">
          {e.set_by || <span className="none">–</span>}
          <Moment at={e.set_at} />
        </span>
      ),
    },
    {
      id: 'change',
      header: 'Change',
      cell: (e) =>
        e.enabled === null || e.enabled === undefined ? (
          <button type="button" disabled={change.isPending} onClick={() => change.mutate({ key: e.key, enabled: true })}>
            Turn on
          </button>
        ) : (
          <span className="flags">
            <button type="button" disabled={change.isPending} onClick={() => change.mutate({ key: e.key, enabled: !e.enabled })}>
              Turn {e.enabled ? 'off' : 'on'}
            </button>
            <button type="button" disabled={change.isPending} aria-label={`Remove ${e.key}`} onClick={() => change.mutate({ key: e.key, enabled: null })}>
              Remove
            </button>
          </span>
        ),
    },
  ];
  return (
    <Section
      heading="Experiments"
      count={found.data?.items.length}
      aside={
        <button type="button" onClick={() => setAdding(true)}>
          Add experiment
        </button>
      }
    >
      {found.isPending ? <Loading what="experiments" /> : null}
      {found.isError ? <Failure error={found.error} what="experiments" retry={() => void found.refetch()} /> : null}
      <Refusal error={change.error} />
      {found.data?.items.length === 0 ? <Empty>No experiment is set. Features that can be turned on or off for a company or a user would stand here.</Empty> : null}
      {found.data?.items.length ? <DataTable label="Experiments" rows={found.data.items} columns={columns} rowKey={(e) => e.key} /> : null}
      {adding ? <Add company={company} close={() => setAdding(false)} /> : null}
    </Section>
  );
}

/** useChange sets an experiment, or removes it where enabled is null. */
function useChange(company: string, user?: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ key, enabled }: { key: string; enabled: boolean | null }) =>
      enabled === null ? settings.removeExperiment(company, user, key) : settings.setExperiment(company, user, key, { enabled }).then(() => undefined),
    // A company's value is what its users have, and opens or closes the recording pages.
    onSuccess: () => Promise.all(['experiments', 'recording', 'call-recording'].map((k) => client.invalidateQueries({ queryKey: [k, company] }))),
  });
}

function Add({ company, close }: { company: string; close: () => void }) {
  const client = useQueryClient();
  const form = useForm({
    initial: { key: '', description: '' },
    labels: { key: 'Key', description: 'What it does' },
    send: ({ key, description }) => settings.setExperiment(company, undefined, key.trim(), { enabled: true, description: description.trim() || undefined }),
    done: () => {
      void client.invalidateQueries({ queryKey: ['experiments', company] });
      close();
    },
  });
  return (
    <Dialog heading="Add an experiment" onClose={close} busy={form.busy}>
      <Form form={form}>
        <TextField name="key" required value={form.values.key} placeholder="admin_call_recording" hint="As the platform names it. It is turned on for the whole company." onChange={(key) => form.set({ key })} />
        <TextField name="description" value={form.values.description} onChange={(description) => form.set({ description })} />
        <Actions busy={form.busy} label="Turn on" onCancel={close} />
      </Form>
    </Dialog>
  );
}

/** UserExperiments says what is on for a user and which level decides. */
export function UserExperiments({ company, user }: { company: string; user: string }) {
  const found = useExperiments(company, user);
  const change = useChange(company, user);
  const form = (e: Experiment) => (
    <select
      aria-label={`${e.key} for this user`}
      value={e.enabled === null || e.enabled === undefined ? '' : String(e.enabled)}
      disabled={change.isPending}
      onChange={(event) => change.mutate({ key: e.key, enabled: event.target.value === '' ? null : event.target.value === 'true' })}
    >
      <option value="">As the company</option>
      <option value="true">On</option>
      <option value="false">Off</option>
    </select>
  );
  const columns: Column<Experiment>[] = [
    keyColumn,
    {
      id: 'effective',
      header: 'In effect',
      cell: (e) => (
        <span className="flags">
          <OnOff on={e.effective} />
          <span className="muted">{e.from === 'user' ? 'set for this user' : e.from === 'company' ? 'by the company' : 'not set'}</span>
        </span>
      ),
    },
    { id: 'set', header: 'For this user', cell: form },
  ];
  return (
    <Section
      heading="Experiments"
      aside={
        <Link to="/c/$company/settings/experiments" params={{ company }}>
          Of the company
        </Link>
      }
    >
      {found.isPending ? <Loading what="experiments" /> : null}
      {found.isError ? <Failure error={found.error} what="experiments" retry={() => void found.refetch()} /> : null}
      <Refusal error={change.error} />
      {found.data?.items.length === 0 ? <Empty>No experiment is set for this user or its company.</Empty> : null}
      {found.data?.items.length ? <DataTable label="Experiments of this user" rows={found.data.items} columns={columns} rowKey={(e) => e.key} /> : null}
    </Section>
  );
}
