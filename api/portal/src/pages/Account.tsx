import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { changes } from '../changes';
import { Actions, Field, Form, TextField, useForm } from '../components/Form';
import { useProxy } from '../components/Proxy';
import { Empty, Failure, Loading, Section, useTitle } from '../components/ui';
import { type Account, settings } from '../settings';

const route = getRouteApi('/c/$company/users/$user/account');

/** AccountPage is what someone who acts for a user may see and change of it: nothing else. */
export function AccountPage() {
  useTitle('Account settings');
  const { company, user } = route.useParams();
  const proxy = useProxy();
  const mine = proxy && proxy.company === company && proxy.user === user ? proxy : null;
  const found = useQuery({
    queryKey: ['account', company, user, mine?.id],
    queryFn: ({ signal }) => settings.account(company, user, mine!.id, signal),
    enabled: !!mine,
  });
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/users/$user" params={{ company, user }}>
          User
        </Link>
      </p>
      <h1>Account settings</h1>
      <Section heading={mine ? `Of ${mine.user_name || mine.user}` : 'Not open'}>
        {!mine ? <Empty>You do not act for this user: open access on the user’s page, under Proxy user.</Empty> : null}
        {mine && found.isPending ? <Loading what="the account" /> : null}
        {found.isError ? <Failure error={found.error} what="account" retry={() => void found.refetch()} /> : null}
        {mine && found.data ? <AccountForm key={JSON.stringify(found.data)} company={company} user={user} session={mine.id} account={found.data} /> : null}
      </Section>
    </div>
  );
}

function AccountForm({ company, user, session, account }: { company: string; user: string; session: string; account: Account }) {
  const client = useQueryClient();
  const [saved, setSaved] = useState(false);
  const form = useForm({
    initial: account,
    labels: { name: 'Name', email: 'Email', voicemail_greeting: 'Voicemail greeting' },
    send: (values) => {
      setSaved(false);
      return settings.setAccount(company, user, session, changes(account, values));
    },
    done: () => {
      setSaved(true);
      for (const key of ['user', 'users', 'notes']) void client.invalidateQueries({ queryKey: [key, company] });
    },
  });
  return (
    <Form form={form}>
      <TextField name="name" required value={form.values.name} onChange={(name) => form.set({ name })} />
      <TextField name="email" type="email" value={form.values.email} onChange={(email) => form.set({ email })} />
      <Field name="voicemail_greeting" hint="The words that callers hear, or the name of the recording.">
        {(control) => <textarea {...control} rows={3} value={form.values.voicemail_greeting} onChange={(e) => form.set({ voicemail_greeting: e.target.value })} />}
      </Field>
      <Actions busy={form.busy} label="Save" />
      {saved && !form.busy ? (
        <p role="status" className="muted">
          Saved, and noted on the user’s page.
        </p>
      ) : null}
    </Form>
  );
}
