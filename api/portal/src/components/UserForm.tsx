import { useQueryClient } from '@tanstack/react-query';
import { changes } from '../changes';
import { directory, type FullUser, type UserChange } from '../directory';
import { title } from '../format';
import { Dialog } from './Dialog';
import { placeOptions, useChanged, usePlaces } from './Directory';
import { Actions, ChecksField, Field, Form, lines, LinesField, SelectField, TextField, useForm } from './Form';

const labels = {
  name: 'Name',
  email: 'Email',
  id: 'User ID',
  state: 'State',
  office: 'Office',
  numbers: 'Numbers',
  aors: 'SIP addresses',
  departments: 'Departments',
  contact_centers: 'Contact centres',
  voicemail_greeting: 'Voicemail greeting',
};

const states = ['active', 'invited', 'pending'];

/** UserForm adds a user, or changes the one it is given. */
export function UserForm({ company, user, office, onClose, onDone }: { company: string; user?: FullUser; office?: string; onClose: () => void; onDone: (user: FullUser) => void }) {
  const client = useQueryClient();
  const changed = useChanged(company);
  const offices = usePlaces(company, 'offices');
  const departments = usePlaces(company, 'departments');
  const centers = usePlaces(company, 'contact-centers');
  const before = {
    name: user?.name ?? '',
    email: user?.email ?? '',
    state: user?.state ?? 'active',
    office: user?.office ?? office ?? '',
    aors: (user?.aors ?? []).join('\n'),
    departments: user?.departments ?? [],
    contact_centers: user?.contact_centers ?? [],
    voicemail_greeting: user?.voicemail_greeting ?? '',
  };
  const form = useForm({
    initial: { ...before, id: '', numbers: '' },
    labels,
    send: ({ id, numbers, ...v }) => {
      const value = { ...v, aors: lines(v.aors) };
      if (user) {
        const change = changes({ ...before, aors: lines(before.aors) }, value);
        return Object.keys(change).length === 0 ? Promise.resolve(user) : directory.updateUser(company, user.id, change);
      }
      const { voicemail_greeting: _, ...rest } = value;
      const made: UserChange = { ...rest, numbers: lines(numbers) };
      if (id.trim()) made.id = id.trim();
      return directory.createUser(company, Object.fromEntries(Object.entries(made).filter(([, x]) => x.length > 0)));
    },
    done: (u) => {
      if (user) client.setQueryData(['user', company, user.id], u);
      changed();
      onDone(u);
    },
  });
  const v = form.values;
  const close = () => {
    if (!form.busy) onClose();
  };
  return (
    <Dialog heading={user ? `Change ${user.name || user.id}` : 'Add a user'} onClose={close} busy={form.busy}>
      <Form form={form} className="two-columns">
        <TextField name="name" value={v.name} required onChange={(name) => form.set({ name })} />
        <TextField name="email" type="email" value={v.email} onChange={(email) => form.set({ email })} />
        <SelectField
          name="state"
          value={v.state}
          options={(user?.state === 'deleted' ? ['deleted', ...states] : states).map((s): [string, string] => [s, title(s)])}
          onChange={(state) => form.set({ state })}
        />
        <SelectField name="office" value={v.office} options={[['', 'None'], ...withChosen(placeOptions(offices.data?.items), v.office)]} onChange={(o) => form.set({ office: o })} />
        {user ? null : (
          <>
            <LinesField name="numbers" value={v.numbers} onChange={(numbers) => form.set({ numbers })} hint="One a line: available ones of the company, or new ones." />
            <TextField name="id" value={v.id} onChange={(id) => form.set({ id })} hint="Part of links to the user. Made up where empty." />
          </>
        )}
        <LinesField name="aors" value={v.aors} onChange={(aors) => form.set({ aors })} hint="One a line: user@host, or user alone for any host." />
        {user ? (
          <Field name="voicemail_greeting">
            {(control) => <textarea {...control} rows={3} value={v.voicemail_greeting} onChange={(e) => form.set({ voicemail_greeting: e.target.value })} />}
          </Field>
        ) : null}
        <ChecksField name="departments" chosen={v.departments} options={placeOptions(departments.data?.items)} onChange={(d) => form.set({ departments: d })} empty="The company has no department." />
        <ChecksField name="contact_centers" chosen={v.contact_centers} options={placeOptions(centers.data?.items)} onChange={(c) => form.set({ contact_centers: c })} empty="The company has no contact centre." />
        <Actions busy={form.busy} label={user ? 'Save' : 'Add user'} onCancel={close} />
      </Form>
    </Dialog>
  );
}

/** withChosen keeps what is chosen among the options while they load, or where there are too many. */
function withChosen(options: [string, string][], chosen: string): [string, string][] {
  return chosen === '' || options.some(([v]) => v === chosen) ? options : [[chosen, chosen], ...options];
}
