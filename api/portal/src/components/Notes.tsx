import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { title } from '../format';
import { deed, type FieldChange, type Note, settings } from '../settings';
import type { Column } from './DataTable';
import { Actions, Field, Form, useForm } from './Form';
import { List } from './List';
import { Moment, Section, Tag } from './ui';

/** Changes shows each member of a record before and after. */
export function Changes({ changes }: { changes: FieldChange[] }) {
  if (changes.length === 0) return null;
  return (
    <ul className="changes">
      {changes.map((c) => (
        <li key={c.field}>
          <span className="muted">{title(c.field)}</span>{' '}
          {c.old ? (
            <>
              <del>{c.old}</del> <span aria-hidden="true">→</span>{' '}
            </>
          ) : null}
          {c.new ? <ins>{c.new}</ins> : <span className="none">nothing</span>}
        </li>
      ))}
    </ul>
  );
}

const columns: Column<Note>[] = [
  { id: 'at', header: 'Time', lead: true, cell: (n) => <Moment at={n.at} full /> },
  {
    id: 'author',
    header: 'By',
    cell: (n) => (
      <span className="flags">
        {n.author.name || n.author.id} {n.kind === 'proxy' ? <Tag tone="warn">acting for the user</Tag> : null}
      </span>
    ),
  },
  {
    id: 'text',
    header: 'Note',
    cell: (n) => (
      <>
        {n.text ? <p className="break note-text">{n.text}</p> : null}
        {n.kind !== 'note' && n.action ? <p className="muted">{title(deed(n.action))}</p> : null}
        <Changes changes={n.changes} />
      </>
    ),
  },
];

/** Notes are what people wrote about a user, and what was changed of it, by whom. */
export function Notes({ company, user }: { company: string; user: string }) {
  const [written, setWritten] = useState(0);
  return (
    <Section heading="Notes">
      <NoteForm key={written} company={company} user={user} done={() => setWritten(written + 1)} />
      <List
        what="notes"
        queryKey={['notes', company, user]}
        load={(p, signal) => settings.notes(company, user, p, signal)}
        columns={columns}
        rowKey={(n) => n.id}
        refreshMs={15_000}
        empty="Nobody has written or changed anything yet."
      />
    </Section>
  );
}

function NoteForm({ company, user, done }: { company: string; user: string; done: () => void }) {
  const client = useQueryClient();
  const form = useForm({
    initial: { text: '' },
    labels: { text: 'Add a note' },
    send: ({ text }) => settings.addNote(company, user, text.trim()),
    done: () => {
      void client.invalidateQueries({ queryKey: ['notes', company, user] });
      done();
    },
  });
  return (
    <Form form={form} className="form-inline">
      <Field name="text">
        {(control) => <textarea {...control} rows={2} maxLength={10_000} required value={form.values.text} onChange={(e) => form.set({ text: e.target.value })} />}
      </Field>
      <Actions busy={form.busy} label="Add note" disabled={form.values.text.trim() === ''} />
    </Form>
  );
}
