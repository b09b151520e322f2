import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { api, type Whoami } from '../api';
import { localTime } from '../format';
import { said } from '../problem';
import { type ProxySession, settings } from '../settings';
import { type Column, DataTable } from './DataTable';
import { Actions, Form, SelectField, TextField, useForm } from './Form';
import { Failure, Loading, Moment, Section, Tag } from './ui';

type Open = NonNullable<Whoami['proxy']>;

/** useWhoami is who reads; while that one acts for a user it is asked again, for the session ends by itself. */
export const useWhoami = () =>
  useQuery({ queryKey: ['whoami'], queryFn: ({ signal }) => api.whoami(signal), staleTime: Infinity, refetchInterval: (q) => (q.state.data?.proxy ? 15_000 : false) });

/** useProxy is the session in which the reader acts for a user, if one is open. */
export const useProxy = (): Open | null => useWhoami().data?.proxy ?? null;

/** ProxyBanner stands on every page while someone acts for a user. */
export function ProxyBanner() {
  const proxy = useProxy();
  const client = useQueryClient();
  const navigate = useNavigate();
  const back = useMutation({
    mutationFn: (p: Open) => settings.endProxy(p.company, p.user, p.id),
    onSettled: () => client.invalidateQueries(),
    onSuccess: (_, p) => navigate({ to: '/c/$company/users/$user', params: { company: p.company, user: p.user } }),
  });
  if (!proxy) return null;
  return (
    <section className="proxy-banner" aria-label="Acting for a user">
      <span>
        You act for <b>{proxy.user_name || proxy.user}</b> until {localTime(proxy.expires_at)}, in account settings only. Every change is noted.
      </span>
      <span className="flags">
        <Link to="/c/$company/users/$user/account" params={{ company: proxy.company, user: proxy.user }}>
          Account settings
        </Link>
        <button type="button" disabled={back.isPending} onClick={() => back.mutate(proxy)}>
          Back
        </button>
      </span>
      {back.isError ? <span role="alert">{said(back.error, {}).rest}</span> : null}
    </section>
  );
}

const columns: Column<ProxySession>[] = [
  { id: 'at', header: 'Started', lead: true, cell: (s) => <Moment at={s.started_at} full /> },
  { id: 'by', header: 'Who', cell: (s) => s.by || <span className="none">not known</span> },
  { id: 'reason', header: 'Reason', cell: (s) => <span className="break">{s.reason}</span> },
  { id: 'ended', header: 'Ended', cell: (s) => (s.ended_at ? <Moment at={s.ended_at} /> : Date.parse(s.expires_at) > Date.now() ? <Tag tone="live">Open</Tag> : <Moment at={s.expires_at} />) },
];

/** ProxyAccess is how one acts for a user, and who has. */
export function ProxyAccess({ company, user }: { company: string; user: string }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const open = useProxy();
  const sessions = useQuery({ queryKey: ['proxy-sessions', company, user], queryFn: ({ signal }) => settings.proxySessions(company, user, signal) });
  const form = useForm({
    initial: { reason: '', minutes: '15' },
    labels: { reason: 'Reason', minutes: 'For' },
    send: ({ reason, minutes }) => settings.openProxy(company, user, { reason: reason.trim(), minutes: Number(minutes) }),
    done: () => {
      void client.invalidateQueries();
      void navigate({ to: '/c/$company/users/$user/account', params: { company, user } });
    },
  });
  return (
    <Section heading="Proxy user">
      <p className="note-line">
        Look at and change name, e-mail and voicemail greeting as this user would. Calls, messages, voicemails and recordings stay closed. Each change becomes a note on this page.
      </p>
      {open ? (
        <p className="note-line">
          You already act for {open.user_name || open.user}: go back from there first.
        </p>
      ) : (
        <Form form={form} className="form-inline">
          <TextField name="reason" required value={form.values.reason} placeholder="Ticket 4711: greeting cut off" onChange={(reason) => form.set({ reason })} />
          <SelectField name="minutes" value={form.values.minutes} options={['5', '15', '30', '60'].map((m): [string, string] => [m, `${m} minutes`])} onChange={(minutes) => form.set({ minutes })} />
          <Actions busy={form.busy} label="Login access" waiting="Opening…" disabled={form.values.reason.trim() === ''} />
        </Form>
      )}
      {sessions.isPending ? <Loading what="proxy sessions" /> : null}
      {sessions.isError ? <Failure error={sessions.error} what="proxy sessions" retry={() => void sessions.refetch()} /> : null}
      {sessions.data?.items.length ? <DataTable label="Proxy sessions" rows={sessions.data.items} columns={columns} rowKey={(s) => s.id} /> : null}
    </Section>
  );
}
