import { getRouteApi } from '@tanstack/react-router';
import { useState } from 'react';
import { List } from '../components/List';
import { SnapshotDelete, snapshotColumns } from '../components/Snapshots';
import { Section, TextFilter, useTitle } from '../components/ui';
import { type Snapshot, snapshots } from '../snapshots';
import { given } from '../urlstate';

const route = getRouteApi('/c/$company/snapshots');

/** SnapshotsPage lists the calls of a company that were frozen. */
export function SnapshotsPage() {
  useTitle('Snapshots');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const [deleting, setDeleting] = useState<Snapshot | null>(null);
  return (
    <div className="page">
      <h1>Snapshots</h1>
      <Section heading="Calls that were frozen for tickets, the newest first">
        <div className="filters">
          <TextFilter label="Call" value={search.call ?? ''} placeholder="Id of the call" onChange={(call) => void navigate({ search: (s) => ({ ...s, ...given({ call: call.trim() }) }), replace: true })} />
        </div>
        <List
          what="snapshots"
          queryKey={['snapshots', company, 'all', search]}
          load={(p, signal) => snapshots.list(company, { ...search, ...p }, signal)}
          columns={snapshotColumns(company, true, setDeleting)}
          rowKey={(s) => s.id}
          empty="No call is frozen. The page of a call freezes it, with Report this call."
        />
      </Section>
      {deleting ? <SnapshotDelete snapshot={deleting} onClose={() => setDeleting(null)} onDone={() => setDeleting(null)} /> : null}
    </div>
  );
}
