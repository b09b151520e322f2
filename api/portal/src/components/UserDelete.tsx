import { useQuery } from '@tanstack/react-query';
import { type Deletion, directory } from '../directory';
import { phone, words } from '../format';
import { Dialog } from './Dialog';
import { useChanged } from './Directory';
import { Actions, Form, useForm } from './Form';
import { Failure, Loading } from './ui';

/** UserDelete says what deleting a user does, and does it. */
export function UserDelete({ company, user, name, onClose, onDone }: { company: string; user: string; name: string; onClose: () => void; onDone: () => void }) {
  const changed = useChanged(company);
  const preview = useQuery({ queryKey: ['deletion', company, user], queryFn: ({ signal }) => directory.deletion(company, user, signal), staleTime: 0, gcTime: 0 });
  const form = useForm({
    initial: {},
    labels: {},
    send: () => directory.deleteUser(company, user),
    done: () => {
      changed();
      onDone();
    },
  });
  return (
    <Dialog heading={`Delete ${name}`} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        {preview.isPending ? <Loading what="what it does" /> : null}
        {preview.isError ? <Failure error={preview.error} what="what it does" retry={() => void preview.refetch()} /> : null}
        {preview.data ? <What deletion={preview.data} /> : null}
        <Actions busy={form.busy} danger label="Delete user" waiting="Deleting…" disabled={!preview.data} onCancel={onClose} />
      </Form>
    </Dialog>
  );
}

function What({ deletion: d }: { deletion: Deletion }) {
  const counted = [
    ...(d.memberships ? [`${d.memberships} membership${d.memberships === 1 ? '' : 's'} of departments and contact centres`] : []),
    ...(d.recording_settings ? [`${d.recording_settings} recording setting${d.recording_settings === 1 ? '' : 's'}`] : []),
    ...(d.subscriptions ? [`${d.subscriptions} subscription${d.subscriptions === 1 ? '' : 's'} to call events`] : []),
  ];
  return (
    <>
      {d.warnings?.length ? (
        <ul className="refusal">
          {d.warnings.map((w) => (
            <li key={w}>{w}</li>
          ))}
        </ul>
      ) : null}
      <p>The user stays in lists as deleted, with its calls and notes. This happens to what belongs to it:</p>
      <dl className="consequences">
        <dt>Numbers</dt>
        <dd>
          {d.numbers.length === 0 ? 'It has none.' : null}
          <ul>
            {d.numbers.map((n) => (
              <li key={n.number}>
                <span className="num strong">{phone(n.number)}</span> becomes {words(n.becomes)}
              </li>
            ))}
          </ul>
        </dd>
        <dt>Devices</dt>
        <dd>
          {d.devices.length === 0 ? 'It has none.' : null}
          <ul>
            {d.devices.map((x) => (
              <li key={x.id}>
                <span className="strong">{x.name || x.id}</span>: {x.becomes}
              </li>
            ))}
          </ul>
        </dd>
        <dt>SIP addresses</dt>
        <dd>{d.aors.length === 0 ? 'It has none.' : <>become free: {d.aors.join(', ')}</>}</dd>
        {counted.length > 0 ? (
          <>
            <dt>Removed</dt>
            <dd>{counted.join(', ')}</dd>
          </>
        ) : null}
      </dl>
    </>
  );
}
