import { useMutation, useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useState } from 'react';
import { type Column, DataTable } from '../components/DataTable';
import { useChanged } from '../components/Directory';
import { Failure, Section, useTitle } from '../components/ui';
import { errorsFile, importColumns, template } from '../csv';
import { directory, type ImportError, type ImportProgress, type ImportResult } from '../directory';
import { count } from '../format';

const route = getRouteApi('/c/$company/offices/$place/import');

/** ImportPage adds many users to an office: a file is checked first, and stored whole or not at all. */
export function ImportPage() {
  const { company, place } = route.useParams();
  const office = useQuery({ queryKey: ['place', company, 'offices', place], queryFn: ({ signal }) => directory.place(company, 'offices', place, signal) });
  const name = office.data?.name || place;
  useTitle(`Add users to ${name}`);
  const [file, setFile] = useState<File | null>(null);
  const changed = useChanged(company);
  const [progress, setProgress] = useState<ImportProgress | null>(null);
  const run = useMutation({
    mutationFn: (v: { file: File; dryRun: boolean }) => {
      setProgress(null);
      return directory.importUsers(company, v.file, { dryRun: v.dryRun, office: place }, setProgress);
    },
    onSuccess: (result) => {
      if (!result.dry_run && result.created > 0) changed();
    },
  });
  const stored = run.variables && !run.variables.dryRun && run.data && run.data.errors.length === 0 ? run.data : null;
  if (office.isError) return <Failure error={office.error} what="office" retry={() => void office.refetch()} />;
  return (
    <div className="page">
      <p className="crumbs">
        <Link to="/c/$company/offices" params={{ company }}>
          Offices
        </Link>{' '}
        ›{' '}
        <Link to="/c/$company/offices/$place" params={{ company, place }}>
          {name}
        </Link>
      </p>
      <h1>Add users to {name} via CSV</h1>
      {stored ? (
        <Section heading="Done">
          <div className="dialog-part">
            <p role="status" className="strong">
              {count(stored.created)} {stored.created === 1 ? 'user was' : 'users were'} added to {name}.
            </p>
            <div className="actions">
              <Link to="/c/$company/users" params={{ company }} search={{ office: place }} className="button primary">
                See them
              </Link>
              <button
                type="button"
                onClick={() => {
                  run.reset();
                  setFile(null);
                }}
              >
                Add another file
              </button>
            </div>
          </div>
        </Section>
      ) : (
        <>
          <Section heading="The file">
            <div className="dialog-part">
              <label className="field file-field">
                <span>CSV file with a header row</span>
                <input
                  type="file"
                  accept=".csv,text/csv"
                  disabled={run.isPending}
                  onChange={(e) => {
                    const chosen = e.target.files?.[0] ?? null;
                    setFile(chosen);
                    run.reset();
                    // Nothing is stored by this: the reader sees at once what the file is worth.
                    if (chosen) run.mutate({ file: chosen, dryRun: true });
                  }}
                />
              </label>
              <p className="muted">
                <a href={`data:text/csv;charset=utf-8,${encodeURIComponent(template())}`} download="users.csv">
                  A template to begin with
                </a>
              </p>
            </div>
            <details className="note">
              <summary>The columns</summary>
              <dl className="glossary">
                {importColumns.map((c) => (
                  <div key={c.name}>
                    <dt>
                      <code>{c.name}</code>
                    </dt>
                    <dd>
                      {c.means}
                      {c.required ? ' (required)' : ''}
                    </dd>
                  </div>
                ))}
              </dl>
            </details>
          </Section>
          {run.isPending ? <Progress storing={!run.variables.dryRun} progress={progress} /> : null}
          {run.isError ? <Failure error={run.error} what="the file" retry={file ? () => run.mutate({ file, dryRun: true }) : undefined} /> : null}
          {run.data && file ? <Checked result={run.data} name={name} busy={run.isPending} onStore={() => run.mutate({ file, dryRun: false })} onAgain={() => run.mutate({ file, dryRun: true })} /> : null}
        </>
      )}
    </div>
  );
}

function Progress({ storing, progress: p }: { storing: boolean; progress: ImportProgress | null }) {
  const done = p ? (storing ? p.rows_checked + p.rows_stored : p.rows_checked) : 0;
  const total = p ? (storing ? 2 * p.total : p.total) : 0;
  const what = storing && p && p.rows_stored > 0 ? `${count(p.rows_stored)} of ${count(p.total)} rows stored` : p ? `${count(p.rows_checked)} of ${count(p.total)} rows checked` : 'Sending the file';
  return (
    <Section heading={storing ? 'Adding users' : 'Checking the file'}>
      <div className="dialog-part">
        <label className="progress">
          <span role="status">{what}…</span>
          {total > 0 ? <progress max={total} value={done} /> : <progress />}
        </label>
      </div>
    </Section>
  );
}

const columns: Column<ImportError>[] = [
  { id: 'line', header: 'Where', lead: true, cell: (e) => <span className="strong">Line {count(e.line)}</span> },
  { id: 'column', header: 'Column', cell: (e) => (e.column ? <code>{e.column}</code> : <span className="none">the whole line</span>) },
  { id: 'message', header: 'What is wrong', cell: (e) => e.message },
];

/** Checked tells what a dry run found, and offers to store the file where it found nothing. */
function Checked({ result, name, busy, onStore, onAgain }: { result: ImportResult; name: string; busy: boolean; onStore: () => void; onAgain: () => void }) {
  const wrong = result.errors_total ?? result.errors.length;
  if (result.errors.length === 0) {
    return (
      <Section heading="Nothing is wrong with the file">
        <div className="dialog-part">
          <p role="status">
            {result.rows === 0 ? 'It has no rows.' : `${count(result.rows)} ${result.rows === 1 ? 'user' : 'users'} would be added to ${name}: all of them, or none if something is in the way by then.`}
          </p>
          <div className="actions">
            <button type="button" className="primary" disabled={busy || result.rows === 0} onClick={onStore}>
              Add {count(result.rows)} {result.rows === 1 ? 'user' : 'users'}
            </button>
          </div>
        </div>
      </Section>
    );
  }
  return (
    <Section
      heading="What is wrong with the file"
      count={wrong}
      aside={
        <a href={`data:text/csv;charset=utf-8,${encodeURIComponent(errorsFile(result.errors))}`} download="errors.csv">
          Save this list
        </a>
      }
    >
      <div className="dialog-part">
        <p role="alert">Nothing was stored. Mend the file and choose it again.{wrong > result.errors.length ? ` The first ${count(result.errors.length)} of ${count(wrong)} are shown.` : ''}</p>
        <div className="actions">
          <button type="button" disabled={busy} onClick={onAgain}>
            Check again
          </button>
        </div>
      </div>
      <DataTable label="Errors" rows={result.errors} columns={columns} rowKey={(e) => `${e.line} ${e.column} ${e.message}`} />
    </Section>
  );
}
