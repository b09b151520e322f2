import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { headline } from '../bands';
import { CallBody } from '../components/CallBody';
import { Happened } from '../components/CallEvents';
import { NoteText, SnapshotDelete } from '../components/Snapshots';
import { Copy, copyText, Failure, Loading, Moment, Section, useTitle } from '../components/ui';
import { Explained } from '../components/Why';
import { left, snapshots, type WholeSnapshot } from '../snapshots';

const route = getRouteApi('/s/$snapshot');

/** SnapshotPage shows a call as it was when it was frozen, from the snapshot alone. */
export function SnapshotPage() {
  const { snapshot: id } = route.useParams();
  // What is frozen does not change.
  const found = useQuery({ queryKey: ['snapshot', id], queryFn: ({ signal }) => snapshots.get(id, signal), staleTime: Infinity });
  useTitle(found.data ? `${headline(found.data.call)} · snapshot of call ${found.data.call_id}` : 'Snapshot');
  if (found.isPending) return <Loading what="the snapshot" />;
  if (found.isError) return <Failure error={found.error} what="snapshot" gone="It may be another company’s, or it was deleted." retry={() => void found.refetch()} />;
  return <Frozen snapshot={found.data} />;
}

function Frozen({ snapshot: s }: { snapshot: WholeSnapshot }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  const explained = useMemo(() => ({ call: { explain: s.call.explain }, samples: { explain: s.samples_explain } }), [s]);
  const leave = async () => {
    await navigate({ to: '/c/$company/snapshots', params: { company: s.company } });
    client.removeQueries({ queryKey: ['snapshot', s.id] });
  };
  return (
    <Explained company={s.company} call={s.call.id} version={s.call.verdict?.version ?? 0} frozen={explained}>
      <Banner snapshot={s} onDelete={() => setDeleting(true)} />
      <CallBody company={s.company} call={s.call} samples={s.samples} messages={s.messages} pcap={snapshots.pcapURL(s.id)} actions={<Report text={s.report} />}>
        <Section heading="Call events" id="events" count={s.events.items.length}>
          <Happened company={s.company} events={s.events.items} />
        </Section>
      </CallBody>
      {deleting ? <SnapshotDelete snapshot={s} onClose={() => setDeleting(false)} onDone={() => void leave()} /> : null}
    </Explained>
  );
}

/** Banner says that this is not the call of now, and what of it is missing. */
function Banner({ snapshot: s, onDelete }: { snapshot: WholeSnapshot; onDelete: () => void }) {
  return (
    <section className="frozen-banner" aria-label="Snapshot">
      <div>
        <p>
          <b>
            Frozen at <Moment at={s.created_at} full />
            {s.created_by.name ? ` by ${s.created_by.name}` : ''}.
          </b>{' '}
          {s.call.state === 'live' ? 'The call still ran then. ' : ''}What came later is not here.
        </p>
        {s.note ? (
          <p>
            <NoteText text={s.note} />
          </p>
        ) : null}
        {left(s).map((text) => (
          <p key={text}>{text}</p>
        ))}
      </div>
      <span className="flags">
        <Link to="/c/$company/calls/$call" params={{ company: s.company, call: s.call.id }}>
          The call as it is now
        </Link>
        <Link to="/c/$company/snapshots" params={{ company: s.company }}>
          All snapshots
        </Link>
        <Copy text={s.links.portal!} what="link of the snapshot" />
        <button type="button" onClick={onDelete}>
          Delete
        </button>
      </span>
    </section>
  );
}

/** Report copies the text of the ticket as it was made then. */
function Report({ text }: { text: string }) {
  const [note, setNote] = useState('');
  return (
    <div className="actions">
      <button type="button" onClick={() => void copyText(text).then((ok) => setNote(ok ? 'Copied.' : 'Not copied.'))}>
        Copy the report
      </button>
      <span role="status">{note}</span>
    </div>
  );
}
