import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { type Credential, directory, type NewCredential } from '../directory';
import { type Column, DataTable } from './DataTable';
import { Dialog } from './Dialog';
import { useChanged } from './Directory';
import { Actions, Form, SelectField, TextField, useForm } from './Form';
import { Copy, Empty, Facts, Failure, Loading, Moment, Tag } from './ui';

const labels = { device: 'Name of the device', aor: 'Address it registers' };

const columns: Column<Credential>[] = [
  { id: 'username', header: 'Username', lead: true, cell: (c) => <code className="break">{c.username}</code> },
  { id: 'aor', header: 'Address', cell: (c) => <span className="break">{c.aor}</span> },
  { id: 'made', header: 'Made', cell: (c) => <Moment at={c.created_at} /> },
  { id: 'state', header: 'State', cell: (c) => (c.revoked_at ? <span>revoked <Moment at={c.revoked_at} /></span> : <Tag tone="ok">In use</Tag>) },
];

/** Credentials shows what a device registers with, makes it anew and revokes it. Without a device it asks for a name first. */
export function Credentials({ company, user, aors, device, onClose }: { company: string; user: string; aors: string[]; device: { id: string; name: string } | null; onClose: () => void }) {
  const [made, setMade] = useState<NewCredential | null>(null);
  const changed = useChanged(company);
  const known = useQuery({ queryKey: ['credentials', company, user, device?.id], queryFn: ({ signal }) => directory.credentials(company, user, device!.id, signal), enabled: device !== null });
  const form = useForm({
    initial: { device: device?.id ?? '', aor: '' },
    labels,
    send: (v) => directory.createCredentials(company, user, v.device.trim(), v.aor),
    done: (c) => {
      setMade(c);
      changed();
    },
  });
  const revoke = useForm({ initial: {}, labels: {}, send: () => directory.revokeCredentials(company, user, device!.id), done: changed });
  const busy = form.busy || revoke.busy;
  if (made) return <Made made={made} onClose={onClose} />;
  const inUse = known.data?.items.some((c) => !c.revoked_at) ?? false;
  return (
    <Dialog heading={device ? `Credentials of ${device.name}` : 'Credentials for a new device'} onClose={onClose} busy={busy}>
      {device ? (
        <div className="dialog-part">
          {known.isPending ? <Loading what="credentials" /> : null}
          {known.isError ? <Failure error={known.error} what="credentials" retry={() => void known.refetch()} /> : null}
          {known.data?.items.length === 0 ? <Empty>It has no credentials: it registers without, where that is allowed.</Empty> : null}
          {known.data?.items.length ? <DataTable label="Credentials" rows={known.data.items} columns={columns} rowKey={(c) => `${c.created_at} ${c.username}`} /> : null}
          {inUse ? (
            <Form form={revoke}>
              <Actions busy={revoke.busy} danger label="Revoke" waiting="Revoking…" />
            </Form>
          ) : null}
        </div>
      ) : null}
      <Form form={form}>
        {device ? null : <TextField name="device" value={form.values.device} required placeholder="desk-3rd-floor" onChange={(d) => form.set({ device: d })} hint="Letters, digits, dots, dashes and underscores." />}
        <SelectField
          name="aor"
          value={form.values.aor}
          options={[['', aors.length ? `The first: ${aors[0]}` : 'The first of the user'], ...aors.slice(1).map((a): [string, string] => [a, a])]}
          onChange={(aor) => form.set({ aor })}
          hint={inUse ? 'New credentials replace those in use: the device must be set up with them.' : 'From then on this address registers with credentials only.'}
        />
        <Actions busy={form.busy} label="Make new credentials" waiting="Making…" onCancel={onClose} />
      </Form>
    </Dialog>
  );
}

function Made({ made, onClose }: { made: NewCredential; onClose: () => void }) {
  const copied = (text: string, what: string) => (
    <span className="id">
      <code>{text}</code>
      <Copy text={text} what={what} />
    </span>
  );
  return (
    <Dialog heading="New credentials" onClose={onClose}>
      <div className="form">
        <p role="status" className="strong">
          Set the device up with these now. The password is not shown again.
        </p>
        <Facts
          items={[
            ['Username', copied(made.username, 'username')],
            ['Password', copied(made.secret, 'password')],
            ['Realm', copied(made.realm, 'realm')],
            ['Address of record', copied(made.aor, 'address')],
          ]}
        />
        <div className="actions">
          <button type="button" className="primary" onClick={onClose}>
            I have them
          </button>
        </div>
      </div>
    </Dialog>
  );
}
