// Freezing a call for a ticket, and what was frozen.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { type Snapshot, snapshots } from '../snapshots';
import { CallLink } from './CallColumns';
import { type Column, DataTable } from './DataTable';
import { Dialog } from './Dialog';
import { Actions, Form, TextField, useForm } from './Form';
import { Copy, copyText, Moment, Section } from './ui';

/** Freeze keeps the call as it is and copies the link that stays. */
export function Freeze({ company, call }: { company: string; call: string }) {
  const client = useQueryClient();
  const [made, setMade] = useState<{ link: string; copied: boolean } | null>(null);
  const form = useForm({
    initial: { note: '' },
    labels: { note: 'Ticket or reason' },
    send: async ({ note }) => {
      const link = (await snapshots.create(company, call, note.trim())).links.portal!;
      return { link, copied: await copyText(link) };
    },
    done: (result) => {
      setMade(result);
      void client.invalidateQueries({ queryKey: ['snapshots', company] });
    },
  });
  return (
    <Form form={form} className="freeze">
      <p>The link to this page ends with the retention of its data. A snapshot stays: freeze the call for a ticket that may be read later.</p>
      <div className="form-inline">
        <TextField name="note" value={form.values.note} onChange={(note) => form.set({ note })} />
        <button type="submit" disabled={form.busy}>
          {form.busy ? 'Freezing…' : 'Freeze and copy link'}
        </button>
      </div>
      {made ? (
        <p role="status" className="frozen-link">
          {made.copied ? 'The link is on the clipboard: ' : 'The browser did not let it be copied: '}
          <a href={made.link}>{made.link}</a>
        </p>
      ) : null}
    </Form>
  );
}

/** NoteText shows a note with its lines. */
export function NoteText({ text }: { text: string }) {
  return text ? <span className="break note-text">{text}</span> : <span className="none">–</span>;
}

/** snapshotColumns lists frozen calls; onDelete asks to delete one. */
export function snapshotColumns(company: string, withCall: boolean, onDelete: (s: Snapshot) => void): Column<Snapshot>[] {
  return [
    {
      id: 'at', header: 'Frozen', lead: true,
      cell: (s) => (
        <Link to="/s/$snapshot" params={{ snapshot: s.id }} className="strong">
          <Moment at={s.created_at} full />
        </Link>
      ),
    },
    { id: 'by', header: 'By', cell: (s) => s.created_by.name || s.created_by.id },
    { id: 'note', header: 'Ticket or reason', cell: (s) => <NoteText text={s.note} /> },
    ...(withCall ? [{ id: 'call', header: 'Call', cell: (s: Snapshot) => <CallLink company={company} call={s.call_id} /> }] : []),
    {
      id: 'do', header: 'Link',
      cell: (s) => (
        <span className="flags">
          <Copy text={s.links.portal!} what="link of the snapshot" />
          <button type="button" onClick={() => onDelete(s)}>
            Delete
          </button>
        </span>
      ),
    },
  ];
}

/** SnapshotsOf lists what was frozen of one call; it is nothing where nothing was. */
export function SnapshotsOf({ company, call }: { company: string; call: string }) {
  const [deleting, setDeleting] = useState<Snapshot | null>(null);
  const found = useQuery({ queryKey: ['snapshots', company, call], queryFn: ({ signal }) => snapshots.list(company, { call, limit: 100 }, signal), staleTime: 30_000 });
  if (!found.data?.items.length) return null;
  return (
    <Section heading="Snapshots" count={found.data.items.length}>
      <DataTable label="Snapshots" rows={found.data.items} columns={snapshotColumns(company, false, setDeleting)} rowKey={(s) => s.id} />
      {deleting ? <SnapshotDelete snapshot={deleting} onClose={() => setDeleting(null)} onDone={() => setDeleting(null)} /> : null}
    </Section>
  );
}

/** SnapshotDelete asks before it ends a link that may stand in tickets. */
export function SnapshotDelete({ snapshot, onClose, onDone }: { snapshot: Snapshot; onClose: () => void; onDone: () => void }) {
  const client = useQueryClient();
  const form = useForm({
    initial: {},
    labels: {},
    send: () => snapshots.remove(snapshot.company, snapshot.id),
    done: () => {
      void client.invalidateQueries({ queryKey: ['snapshots', snapshot.company] });
      onDone();
    },
  });
  return (
    <Dialog heading="Delete the snapshot?" onClose={onClose} busy={form.busy}>
      <Form form={form}>
        <p>Its link stands in tickets{snapshot.note ? ` (${snapshot.note.replaceAll('\n', ', ')})` : ''} and will lead nowhere. The call itself is not touched, but it may be gone already.</p>
        <Actions busy={form.busy} danger label="Delete" waiting="Deleting…" onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
