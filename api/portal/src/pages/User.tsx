import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { type ReactNode, useMemo, useState } from 'react';
import { api } from '../api';
import { callColumns } from '../components/CallColumns';
import { NumberLink, PlaceLink } from '../components/Directory';
import { UserExperiments } from '../components/Experiments';
import { List } from '../components/List';
import { Notes } from '../components/Notes';
import { ProxyAccess } from '../components/Proxy';
import { ratingColumns } from '../components/Ratings';
import { UserRecording } from '../components/Recording';
import { changeColumns, registrationColumns, Strips } from '../components/Registrations';
import { TransferButton } from '../components/Transfer';
import { Choice, Facts, Failure, Id, Loading, Moment, Section, Tag, useTitle } from '../components/ui';
import { UserDelete } from '../components/UserDelete';
import { UserDevices } from '../components/UserDevices';
import { UserForm } from '../components/UserForm';
import { directory, type FullUser } from '../directory';
import { title } from '../format';
import { settings } from '../settings';
import { stateTone } from './Users';

const route = getRouteApi('/c/$company/users/$user');
const tabs = ['devices', 'registrations', 'calls', 'ratings', 'notes', 'settings'] as const;
type Tab = (typeof tabs)[number];

export function UserPage() {
  const { company, user } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const found = useQuery({ queryKey: ['user', company, user], queryFn: ({ signal }) => directory.user(company, user, signal) });
  useTitle(found.data?.name || 'User');
  if (found.isPending) return <Loading what="the user" />;
  if (found.isError && !found.data) return <Failure error={found.error} what="user" retry={() => void found.refetch()} />;
  const u = found.data!;
  const tab = tabs.find((t) => t === search.tab) ?? 'devices';
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/users" params={{ company }}>
          Users
        </Link>
      </p>
      <Head company={company} user={u} />
      <Profile company={company} user={u} />
      <Choice<Tab>
        label="Of this user"
        value={tab}
        options={tabs.map((t) => ({ value: t, label: title(t) }))}
        onChange={(t) => void navigate({ search: { tab: t === 'devices' ? undefined : t }, replace: true })}
      />
      {tab === 'devices' ? <UserDevices company={company} user={user} aors={[...(u.aors ?? []), ...(u.numbers ?? [])]} /> : null}
      {tab === 'registrations' ? <Registrations company={company} user={user} /> : null}
      {tab === 'calls' ? <Calls company={company} user={user} /> : null}
      {tab === 'ratings' ? <Ratings company={company} user={user} /> : null}
      {tab === 'notes' ? <Notes company={company} user={user} /> : null}
      {tab === 'settings' ? (
        <>
          <UserExperiments company={company} user={user} />
          <UserRecording company={company} user={user} />
          <ProxyAccess company={company} user={user} />
        </>
      ) : null}
    </div>
  );
}

function Head({ company, user: u }: { company: string; user: FullUser }) {
  const [open, setOpen] = useState<'' | 'edit' | 'delete'>('');
  const close = () => setOpen('');
  return (
    <div className="title-row">
      <h1>
        {u.name || u.id} <Tag tone={stateTone(u.state)}>{title(u.state)}</Tag>
      </h1>
      <div className="actions">
        <button type="button" onClick={() => setOpen('edit')}>
          Edit
        </button>
        {u.state === 'deleted' ? null : (
          <button type="button" className="danger-quiet" onClick={() => setOpen('delete')}>
            Delete
          </button>
        )}
      </div>
      {open === 'edit' ? <UserForm company={company} user={u} onClose={close} onDone={close} /> : null}
      {open === 'delete' ? <UserDelete company={company} user={u.id} name={u.name || u.id} onClose={close} onDone={close} /> : null}
    </div>
  );
}

function Profile({ company, user: u }: { company: string; user: FullUser }) {
  const linked = (kind: 'departments' | 'contact-centers', ids: string[] | null | undefined) =>
    ids?.length ? (
      <span className="stack">
        {ids.map((id) => (
          <PlaceLink key={id} company={company} kind={kind} id={id} />
        ))}
      </span>
    ) : null;
  return (
    <Section heading="Profile">
      <Facts
        items={[
          [
            'Numbers',
            u.numbers?.length ? (
              <span key="numbers" className="stack">
                {u.numbers.map((n) => (
                  <span key={n} className="flags">
                    <NumberLink company={company} number={n} />
                    <TransferButton company={company} number={n} owner={{ kind: 'user', id: u.id, name: u.name }} />
                  </span>
                ))}
              </span>
            ) : null,
          ],
          ['Email', u.email ? <span key="email" className="break">{u.email}</span> : null],
          ['User ID', <Id key="id" text={u.id} what="user id" />],
          ['Office', u.office ? <PlaceLink key="office" company={company} kind="offices" id={u.office} /> : null],
          ['Departments', linked('departments', u.departments)],
          ['Contact centres', linked('contact-centers', u.contact_centers)],
          ['SIP addresses', u.aors?.length ? <span key="aors" className="stack break">{u.aors.map((a) => <span key={a}>{a}</span>)}</span> : null],
          ['App versions', u.app_versions?.join(', ')],
          ['Created', u.created_at ? <Moment key="c" at={u.created_at} full /> : null],
          ...(u.voicemail_greeting ? [['Voicemail greeting', <span key="v" className="break">{u.voicemail_greeting}</span>] as [string, ReactNode]] : []),
        ]}
      />
    </Section>
  );
}

function Registrations({ company, user }: { company: string; user: string }) {
  const columns = useMemo(() => registrationColumns(company, false), [company]);
  const changes = useMemo(() => changeColumns(), []);
  const history = useQuery({
    queryKey: ['user-strip', company, user],
    queryFn: async ({ signal }) => ({ page: await api.userHistory(company, user, { limit: 500 }, signal), at: Date.now() }),
    refetchInterval: 5000,
  });
  return (
    <>
      <Section heading="Current bindings">
        <List
          what="registrations"
          queryKey={['user-registrations', company, user]}
          load={(p, signal) => api.userRegistrations(company, user, p, signal)}
          columns={columns}
          rowKey={(r) => `${r.aor} ${r.device_id}`}
          refreshMs={5000}
          empty="No device of this user has registered."
        />
      </Section>
      <Section heading="Timeline">
        {history.data ? <Strips changes={history.data.page.items} now={history.data.at} /> : null}
        <List
          what="registration changes"
          queryKey={['user-history', company, user]}
          load={(p, signal) => api.userHistory(company, user, p, signal)}
          columns={changes}
          rowKey={(c) => `${c.at} ${c.device_id} ${c.change}`}
          refreshMs={5000}
          empty="No registration of this user was seen."
        />
      </Section>
    </>
  );
}

function Calls({ company, user }: { company: string; user: string }) {
  const columns = useMemo(() => callColumns(company), [company]);
  return (
    <Section
      heading="Calls"
      aside={
        <Link to="/c/$company/calls" params={{ company }} search={{ user }}>
          With filters
        </Link>
      }
    >
      <List
        what="calls"
        queryKey={['user-calls', company, user]}
        load={(p, signal) => api.calls(company, { user, ...p }, signal)}
        columns={columns}
        rowKey={(c) => c.id}
        refreshMs={5000}
        empty="No call of this user was seen."
      />
    </Section>
  );
}

function Ratings({ company, user }: { company: string; user: string }) {
  const columns = useMemo(() => ratingColumns(company).filter((c) => c.id !== 'rater'), [company]);
  return (
    <Section heading="Ratings">
      <List
        what="ratings"
        queryKey={['user-ratings', company, user]}
        load={(p, signal) => settings.ratings(company, user, p, signal)}
        columns={columns}
        rowKey={(r) => r.id}
        empty="This user has rated no call."
      />
    </Section>
  );
}
