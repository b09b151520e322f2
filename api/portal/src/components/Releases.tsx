// The latest version of each kind of app: what devices are held against.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { appKindName, appKinds } from '../appkinds';
import { type AppKind, type AppRelease, directory } from '../directory';
import { day } from '../ports';
import { type Column, DataTable } from './DataTable';
import { Dialog } from './Dialog';
import { AppKind as Kind, useChanged } from './Directory';
import { Actions, Form, SelectField, TextField, useForm } from './Form';
import { Empty, Failure, Loading, Section } from './ui';

const nameOf = (r: AppRelease) => [appKindName(r.kind), r.app, r.platform].filter(Boolean).join(', ');

export function Releases({ company }: { company: string }) {
  const found = useQuery({ queryKey: ['releases', company], queryFn: ({ signal }) => directory.releases(company, signal) });
  const [open, setOpen] = useState<{ edit: AppRelease | null } | { remove: AppRelease } | null>(null);
  const columns: Column<AppRelease>[] = [
    { id: 'kind', header: 'App', lead: true, cell: (r) => <span className="strong"><Kind kind={r.kind} /></span> },
    { id: 'app', header: 'Only of', cell: (r) => [r.app, r.platform].filter(Boolean).join(', ') || <span className="none">any</span> },
    { id: 'version', header: 'Latest version', cell: (r) => <span className="num">{r.version}</span> },
    { id: 'released', header: 'Released', cell: (r) => day(r.released_at) || <span className="none">–</span> },
    { id: 'from', header: 'Set for', cell: (r) => (r.from === 'all' ? 'all companies' : 'this company') },
    {
      id: 'do',
      header: 'Change',
      cell: (r) => (
        <span className="flags row-actions">
          <button type="button" className="link" aria-label={`Change the latest version of ${nameOf(r)}`} onClick={() => setOpen({ edit: r })}>
            Change
          </button>
          {r.from === 'all' ? null : (
            <button type="button" className="link" aria-label={`Remove the latest version of ${nameOf(r)}`} onClick={() => setOpen({ remove: r })}>
              Remove
            </button>
          )}
        </span>
      ),
    },
  ];
  const close = () => setOpen(null);
  return (
    <Section
      heading="Latest versions"
      aside={
        <button type="button" onClick={() => setOpen({ edit: null })}>
          Set a latest version
        </button>
      }
    >
      <p className="note-line">Devices that run an earlier version than the latest of their kind of app are marked as outdated.</p>
      {found.isPending ? <Loading what="versions" /> : null}
      {found.isError ? <Failure error={found.error} what="latest versions" retry={() => void found.refetch()} /> : null}
      {found.data?.items.length === 0 ? <Empty>No latest version is known, so no device is marked as outdated.</Empty> : null}
      {found.data?.items.length ? <DataTable label="Latest versions" rows={found.data.items} columns={columns} rowKey={(r) => `${r.from} ${nameOf(r)}`} /> : null}
      {open && 'edit' in open ? <ReleaseForm company={company} release={open.edit} onClose={close} /> : null}
      {open && 'remove' in open ? <ReleaseRemove company={company} release={open.remove} onClose={close} /> : null}
    </Section>
  );
}

const labels = { kind: 'App', app: 'Only of an app named', platform: 'Only on the platform', version: 'Latest version', released_at: 'Released' };

function useAgain(company: string, onClose: () => void) {
  const changed = useChanged(company);
  return () => {
    changed();
    onClose();
  };
}

function ReleaseForm({ company, release, onClose }: { company: string; release: AppRelease | null; onClose: () => void }) {
  const again = useAgain(company, onClose);
  const form = useForm({
    initial: {
      kind: release?.kind ?? ('native' as AppKind),
      app: release?.app ?? '',
      platform: release?.platform ?? '',
      version: release?.version ?? '',
      released_at: release?.released_at?.slice(0, 10) ?? '',
    },
    labels,
    send: (v) =>
      directory.setRelease(company, { kind: v.kind, app: v.app.trim(), platform: v.platform.trim() }, { version: v.version.trim(), ...(v.released_at ? { released_at: `${v.released_at}T00:00:00Z` } : {}) }),
    done: again,
  });
  const v = form.values;
  return (
    <Dialog heading={release ? `Latest version of ${nameOf(release)}` : 'Set a latest version'} onClose={onClose} busy={form.busy}>
      <Form form={form} className="two-columns">
        {release ? null : (
          <>
            <SelectField name="kind" value={v.kind} options={appKinds.map((k): [string, string] => [k, appKindName(k)])} onChange={(kind) => form.set({ kind: kind as AppKind })} />
            <TextField name="app" value={v.app} onChange={(app) => form.set({ app })} hint="Empty: of every app of the kind." />
            <TextField name="platform" value={v.platform} onChange={(platform) => form.set({ platform })} hint="Empty: on every platform." />
          </>
        )}
        <TextField name="version" value={v.version} required placeholder="12.4.1" onChange={(version) => form.set({ version })} />
        <TextField name="released_at" type="date" value={v.released_at} onChange={(released_at) => form.set({ released_at })} />
        <Actions busy={form.busy} label="Save" onCancel={onClose} />
      </Form>
    </Dialog>
  );
}

function ReleaseRemove({ company, release, onClose }: { company: string; release: AppRelease; onClose: () => void }) {
  const again = useAgain(company, onClose);
  const form = useForm({ initial: {}, labels: {}, send: () => directory.deleteRelease(company, release), done: again });
  return (
    <Dialog heading={`Remove the latest version of ${nameOf(release)}`} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        <p>No device of this kind is then marked as outdated, unless a latest version is set for all companies.</p>
        <Actions busy={form.busy} danger label="Remove" waiting="Removing…" onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
