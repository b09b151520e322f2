import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate, useParams } from '@tanstack/react-router';
import { type ReactNode, useMemo, useState } from 'react';
import { type Column, DataTable } from '../components/DataTable';
import { Dialog } from '../components/Dialog';
import { NumberLink, PlaceLink, useChanged } from '../components/Directory';
import { Actions, Form, useForm } from '../components/Form';
import { List } from '../components/List';
import { PlaceForm } from '../components/PlaceForm';
import { RecordingSetting } from '../components/Recording';
import { TransferButton } from '../components/Transfer';
import { Empty, Facts, Failure, Id, Loading, Moment, Section, useTitle } from '../components/ui';
import { UserForm } from '../components/UserForm';
import { directory, type Owner, type Place, type PlaceKind } from '../directory';
import { placeWords } from '../places';
import { userColumns } from './Users';

const route = getRouteApi('/c/$company');

/** PlacePage shows who works in a place and which numbers it has. */
export function PlacePage({ kind }: { kind: PlaceKind }) {
  const { company } = route.useParams();
  const { place: id } = useParams({ strict: false }) as { place: string };
  const words = placeWords(kind);
  const found = useQuery({ queryKey: ['place', company, kind, id], queryFn: ({ signal }) => directory.place(company, kind, id, signal) });
  useTitle(found.data?.name || words.one);
  if (found.isPending) return <Loading what={`the ${words.one}`} />;
  if (found.isError && !found.data) return <Failure error={found.error} what={words.one} retry={() => void found.refetch()} />;
  const p = found.data!;
  return (
    <div className="page">
      <p className="crumbs">
        <Link to={`/c/$company/${kind}`} params={{ company }}>
          {words.many}
        </Link>
      </p>
      <Head company={company} kind={kind} place={p} />
      <Section heading={words.one.charAt(0).toUpperCase() + words.one.slice(1)}>
        <Facts
          items={[
            ...(kind === 'offices' ? [] : [['Office', p.office ? <PlaceLink key="o" company={company} kind="offices" id={p.office} /> : null] as [string, ReactNode]]),
            ...(words.members ? [['Users', p.users] as [string, ReactNode]] : []),
            ['ID', <Id key="id" text={p.id} what="id" />],
            ['Created', p.created_at ? <Moment key="c" at={p.created_at} full /> : null],
          ]}
        />
      </Section>
      <Numbers company={company} owner={{ kind: words.owner, id: p.id, name: p.name }} numbers={p.numbers} />
      {words.members ? <Members company={company} kind={kind} place={p} /> : null}
      {words.owner === 'room' ? null : <RecordingSetting company={company} level={{ kind: words.owner, id: p.id }} heading="Call recording" />}
    </div>
  );
}

function Head({ company, kind, place }: { company: string; kind: PlaceKind; place: Place }) {
  const [open, setOpen] = useState<'' | 'edit' | 'delete'>('');
  const close = () => setOpen('');
  return (
    <div className="title-row">
      <h1>{place.name || place.id}</h1>
      <div className="actions">
        {kind === 'offices' ? (
          <Link to="/c/$company/offices/$place/import" params={{ company, place: place.id }} className="button">
            Add users via CSV
          </Link>
        ) : null}
        <button type="button" onClick={() => setOpen('edit')}>
          Edit
        </button>
        <button type="button" className="danger-quiet" onClick={() => setOpen('delete')}>
          Delete
        </button>
      </div>
      {open === 'edit' ? <PlaceForm company={company} kind={kind} place={place} onClose={close} onDone={close} /> : null}
      {open === 'delete' ? <Delete company={company} kind={kind} place={place} onClose={close} /> : null}
    </div>
  );
}

function Delete({ company, kind, place, onClose }: { company: string; kind: PlaceKind; place: Place; onClose: () => void }) {
  const client = useQueryClient();
  const changed = useChanged(company);
  const navigate = useNavigate();
  const words = placeWords(kind);
  const form = useForm({
    initial: {},
    labels: {},
    send: () => directory.deletePlace(company, kind, place.id),
    done: () => {
      // The page asks for what is gone as long as it is shown: leave it first.
      void navigate({ to: `/c/$company/${kind}`, params: { company } }).then(() => {
        client.removeQueries({ queryKey: ['place', company, kind, place.id] });
        changed();
      });
    },
  });
  return (
    <Dialog heading={`Delete ${place.name || place.id}`} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        <p>
          {place.users > 0 || place.numbers.length > 0
            ? `A ${words.one} that has users or numbers cannot be deleted: move them first. It has ${place.users} user${place.users === 1 ? '' : 's'} and ${place.numbers.length} number${place.numbers.length === 1 ? '' : 's'}.`
            : 'It has neither users nor numbers. Calls that were made in it keep its name.'}
        </p>
        <Actions busy={form.busy} danger label={`Delete ${words.one}`} waiting="Deleting…" onCancel={onClose} />
      </Form>
    </Dialog>
  );
}

function Numbers({ company, owner, numbers }: { company: string; owner: Owner; numbers: string[] }) {
  const columns: Column<{ number: string }>[] = [
    { id: 'number', header: 'Number', lead: true, cell: (n) => <NumberLink company={company} number={n.number} /> },
    { id: 'do', header: 'Change', cell: (n) => <TransferButton company={company} number={n.number} owner={owner} /> },
  ];
  return (
    <Section heading="Numbers" count={numbers.length}>
      {numbers.length === 0 ? <Empty>It has no number. Transfer one to it from the numbers of the company.</Empty> : <DataTable label="Numbers" rows={numbers.map((number) => ({ number }))} columns={columns} rowKey={(n) => n.number} />}
    </Section>
  );
}

function Members({ company, kind, place }: { company: string; kind: PlaceKind; place: Place }) {
  const [adding, setAdding] = useState(false);
  const columns = useMemo(() => userColumns(company).filter((c) => kind !== 'offices' || c.id !== 'office'), [company, kind]);
  return (
    <Section
      heading="Users"
      count={place.users}
      aside={
        kind === 'offices' ? (
          <button type="button" onClick={() => setAdding(true)}>
            Add user
          </button>
        ) : (
          <span className="muted">Who belongs to it is set on each user’s page.</span>
        )
      }
    >
      <List
        what="members"
        queryKey={['users', company, 'members', kind, place.id]}
        load={(p, signal) => directory.members(company, kind, place.id, p, signal)}
        columns={columns}
        rowKey={(u) => u.id}
        empty="Nobody belongs to it."
      />
      {adding ? <UserForm company={company} office={place.id} onClose={() => setAdding(false)} onDone={() => setAdding(false)} /> : null}
    </Section>
  );
}
