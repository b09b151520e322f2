// A user's devices: what they run, whether they are registered, and how to make them register anew.
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { appKindMeaning, appKindName, appKinds, pushed } from '../appkinds';
import { type DeviceDeletion, directory, type UserDevice } from '../directory';
import { title } from '../format';
import { Credentials } from './Credentials';
import { type Column, DataTable } from './DataTable';
import { Dialog } from './Dialog';
import { AppKind, useChanged } from './Directory';
import { Actions, Form, useForm } from './Form';
import { HealthTag } from './Health';
import { Copy, Empty, Failure, Loading, Moment, Section, Tag } from './ui';
import { Version } from './Version';

/** nameOf says which device is meant, as well as it is known. */
export const nameOf = (d: UserDevice) => d.app || d.name || appKindName(d.app_kind) || title(d.endpoint) || d.user_agent || d.id;
export const versionOf = (d: UserDevice) => d.version || d.app_version || '';

const columns = (company: string, onDelete: (d: UserDevice) => void, onCredentials: (d: UserDevice) => void): Column<UserDevice>[] => [
  {
    id: 'app',
    header: 'Device',
    lead: true,
    cell: (d) => {
      const name = <span className="strong">{nameOf(d)}</span>;
      if (d.registered === null || d.registered === undefined) return name;
      return (
        <Link to="/c/$company/devices/$device" params={{ company, device: d.id }}>
          {name}
        </Link>
      );
    },
  },
  { id: 'kind', header: 'App', cell: (d) => <AppKind kind={d.app_kind || d.endpoint} /> },
  { id: 'platform', header: 'Platform', cell: (d) => d.platform || <span className="none">–</span> },
  { id: 'version', header: 'Version', cell: (d) => <Version version={versionOf(d)} outdated={d.outdated} latest={d.latest_version} /> },
  { id: 'updated', header: 'Version updated', cell: (d) => <Moment at={d.version_updated_at} /> },
  { id: 'registered', header: 'Registered', cell: (d) => <Registered of={d} /> },
  { id: 'seen', header: 'Last seen', cell: (d) => <Moment at={d.updated_at} relative /> },
  { id: 'source', header: 'Source', cell: (d) => <span className="num break">{d.source || '–'}</span> },
  {
    id: 'id',
    header: 'Device ID',
    cell: (d) => (
      <span className="id">
        <code className="short-id" title={d.id}>
          {d.id}
        </code>
        <Copy text={d.id} what="device id" />
      </span>
    ),
  },
  {
    id: 'do',
    header: 'Change',
    cell: (d) => (
      <span className="flags row-actions">
        <button type="button" className="link" aria-label={`Credentials of ${nameOf(d)}`} onClick={() => onCredentials(d)}>
          Credentials
        </button>
        <button type="button" className="link" aria-label={`Delete ${nameOf(d)}`} onClick={() => onDelete(d)}>
          Delete
        </button>
      </span>
    ),
  },
];

/** Registered says whether a device is registered and since when; of a phone that is woken by push none is expected. */
export function Registered({ of: d }: { of: UserDevice }) {
  const since = d.registered_since || d.registered_at;
  const asked = d.reregister && d.reregister.state !== 'none' ? <Tag tone="warn">Must register anew</Tag> : null;
  if (pushed(d) && !since) {
    return (
      <span className="flags">
        <span className="muted" title="Devices with iOS, iPadOS and Android are woken by push and show no timestamp.">
          none expected
        </span>
        {asked}
      </span>
    );
  }
  if (d.registered === null || d.registered === undefined) {
    return (
      <span className="flags">
        <span className="none">{d.registered_reason || 'never by SIP'}</span>
        {asked}
      </span>
    );
  }
  return (
    <span className="flags">
      {d.health ? <HealthTag health={d.health} /> : <Tag tone={d.registered ? 'ok' : 'plain'}>{d.registered ? 'Registered' : title(d.state || 'not registered')}</Tag>}
      {since ? (
        <span>
          {d.registered ? 'since ' : ''}
          <Moment at={since} />
        </span>
      ) : null}
      {asked}
    </span>
  );
}

export function UserDevices({ company, user, aors }: { company: string; user: string; aors: string[] }) {
  const [deleting, setDeleting] = useState<UserDevice | null>(null);
  const [credentials, setCredentials] = useState<UserDevice | 'new' | null>(null);
  const shown = useMemo(() => columns(company, setDeleting, setCredentials), [company]);
  const devices = useQuery({
    queryKey: ['devices', company, user],
    queryFn: ({ signal }) => directory.devices(company, user, signal),
    refetchInterval: 5000,
  });
  return (
    <Section
      heading="User devices"
      count={devices.data?.items.length}
      aside={
        <button type="button" onClick={() => setCredentials('new')}>
          Credentials for a new device
        </button>
      }
    >
      {devices.isPending ? <Loading what="devices" /> : null}
      {devices.isError && !devices.data ? <Failure error={devices.error} what="devices" retry={() => void devices.refetch()} /> : null}
      {devices.data?.items.length === 0 ? <Empty>This user has neither registered a device nor called from one.</Empty> : null}
      {devices.data?.items.length ? <DataTable label="User devices" rows={devices.data.items} columns={shown} rowKey={(d) => `${d.id} ${d.aor}`} /> : null}
      <Glossary />
      {deleting ? <DeviceDelete company={company} user={user} device={deleting} onClose={() => setDeleting(null)} /> : null}
      {credentials ? (
        <Credentials company={company} user={user} aors={aors} device={credentials === 'new' ? null : { id: credentials.id, name: nameOf(credentials) }} onClose={() => setCredentials(null)} />
      ) : null}
    </Section>
  );
}

function Glossary() {
  return (
    <details className="note">
      <summary>What the kinds of app mean</summary>
      <dl className="glossary">
        {appKinds.map((k) => (
          <div key={k}>
            <dt>{appKindName(k)}</dt>
            <dd>{appKindMeaning(k)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

/** DeviceDelete forces a device to register anew, and then says what its user does. */
function DeviceDelete({ company, user, device, onClose }: { company: string; user: string; device: UserDevice; onClose: () => void }) {
  const changed = useChanged(company);
  const [done, setDone] = useState<DeviceDeletion | null>(null);
  const form = useForm({
    initial: {},
    labels: {},
    send: () => directory.deleteDevice(company, user, device.id),
    done: (result) => {
      changed();
      setDone(result ?? { instructions: [], credentials_revoked: 0, webhook: false });
    },
  });
  const name = nameOf(device);
  if (done) {
    return (
      <Dialog heading={`${name} was deleted`} onClose={onClose}>
        <div className="form">
          <p role="status">
            {done.credentials_revoked > 0
              ? `Its credentials were revoked: it is refused until it is set up again.`
              : 'It had no credentials to revoke.'}
            {done.webhook ? ' Who subscribed to its events was told that it must register anew.' : ''}
          </p>
          {done.instructions.length > 0 ? (
            <>
              <h3>What to do now</h3>
              <ol className="steps">
                {done.instructions.map((s) => (
                  <li key={s}>{s}</li>
                ))}
              </ol>
            </>
          ) : null}
          <div className="actions">
            <button type="button" className="primary" onClick={onClose}>
              Done
            </button>
          </div>
        </div>
      </Dialog>
    );
  }
  const steps = device.reregister?.instructions ?? [];
  return (
    <Dialog heading={`Delete ${name}`} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        <p>
          Deleting a device forces it to register anew: its credentials are revoked and its next registration is refused until it is set up again. Its calls and
          its history stay.
        </p>
        {steps.length > 0 ? (
          <>
            <h3>Afterwards</h3>
            <ol className="steps">
              {steps.map((s) => (
                <li key={s}>{s}</li>
              ))}
            </ol>
          </>
        ) : null}
        <Actions busy={form.busy} danger label="Delete device" waiting="Deleting…" onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
