import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { title, words } from '../format';
import { type Level, type RecordingChange, type RecordingState, settings } from '../settings';
import type { Column } from './DataTable';
import { Dialog } from './Dialog';
import { OwnerLink } from './Directory';
import { useExperiments } from './Experiments';
import { Actions, Form, SelectField, TextField, useForm } from './Form';
import { List } from './List';
import { Empty, Facts, Failure, Loading, Moment, Section, Tag } from './ui';

/** The experiment that opens everything about recording. */
const recordingExperiment = 'admin_call_recording';

/** useRecordingOpen is whether the experiment is on; undefined while that is not known. Asking for what is closed would be an error in the browser's log. */
function useRecordingOpen(company: string): boolean | undefined {
  const found = useExperiments(company, undefined, 60_000);
  return found.data?.items.some((e) => e.key === recordingExperiment && e.effective);
}

/** Closed says what opens the recording pages. */
function Closed({ company }: { company: string }) {
  return (
    <Empty>
      <span>
        Call recording is shown where the experiment <code>{recordingExperiment}</code> is on.
      </span>
      <Link to="/c/$company/settings/experiments" params={{ company }}>
        Experiments
      </Link>
    </Empty>
  );
}

/** decides says in words which level holds. */
const decides = (from: string, name: string): string => (from === 'default' ? 'nobody has set it' : `set for the ${words(from)} ${name}`.trim());

const state = (value: boolean | null): string => (value === null ? 'not set' : value ? 'on' : 'off');

/** RecordingSetting is the state at one level with a way to change it. */
export function RecordingSetting({ company, level, heading }: { company: string; level: Level; heading: string }) {
  const [changing, setChanging] = useState(false);
  const open = useRecordingOpen(company);
  const found = useQuery({
    queryKey: ['recording', company, level.kind, level.id],
    queryFn: ({ signal }) => settings.recording(company, level, signal),
    enabled: open === true,
  });
  return (
    <Section
      heading={heading}
      aside={
        found.data ? (
          <button type="button" onClick={() => setChanging(true)}>
            Change
          </button>
        ) : null
      }
    >
      {open === false ? <Closed company={company} /> : found.isPending ? <Loading what="the recording setting" /> : null}
      {found.isError ? <Failure error={found.error} what="recording setting" retry={() => void found.refetch()} /> : null}
      {found.data ? <RecordingFacts state={found.data} /> : null}
      {changing && found.data ? <Change company={company} level={level} now={found.data} close={() => setChanging(false)} /> : null}
    </Section>
  );
}

function RecordingFacts({ state: s }: { state: RecordingState }) {
  return (
    <Facts
      items={[
        [
          'Calls are recorded',
          <span key="effective" className="flags">
            <Tag tone={s.effective ? 'ok' : 'plain'}>{s.effective ? 'Yes' : 'No'}</Tag>
            <span className="muted">{decides(s.from, s.from_name ?? '')}</span>
          </span>,
        ],
        ['Set here', title(state(s.enabled))],
        ['By', s.set_by],
        ['Since', s.set_at ? <Moment key="at" at={s.set_at} full /> : null],
        ['Reason', s.reason],
      ]}
    />
  );
}

function Change({ company, level, now, close }: { company: string; level: Level; now: RecordingState; close: () => void }) {
  const client = useQueryClient();
  const form = useForm({
    initial: { enabled: now.enabled === null ? '' : String(now.enabled), reason: '' },
    labels: { enabled: 'Record calls', reason: 'Reason' },
    send: ({ enabled, reason }) => settings.setRecording(company, level, { enabled: enabled === '' ? null : enabled === 'true', reason: reason.trim() }),
    done: () => {
      for (const key of ['recording', 'recording-changes', 'call-recording', 'notes']) void client.invalidateQueries({ queryKey: [key, company] });
      close();
    },
  });
  return (
    <Dialog heading="Change call recording" onClose={close} busy={form.busy}>
      <Form form={form}>
        <SelectField
          name="enabled"
          value={form.values.enabled}
          options={[['true', 'On'], ['false', 'Off'], ['', level.kind === 'company' ? 'Not set (off)' : 'Not set: as the level above']]}
          onChange={(enabled) => form.set({ enabled })}
        />
        <TextField name="reason" required value={form.values.reason} hint="It stands in the change log, for whoever asks why a call was or was not recorded." onChange={(reason) => form.set({ reason })} />
        <Actions busy={form.busy} label="Change" onCancel={close} />
      </Form>
    </Dialog>
  );
}

const recordingColumns = (company: string): Column<RecordingChange>[] => [
  { id: 'at', header: 'Time', lead: true, cell: (c) => <Moment at={c.at} full /> },
  { id: 'by', header: 'Who', cell: (c) => c.by.name || <span className="none">not known</span> },
  {
    id: 'for',
    header: 'For',
    cell: (c) => (c.level === 'company' ? 'The company' : <OwnerLink company={company} owner={{ kind: c.level, id: c.level_id, name: c.level_name }} />),
  },
  {
    id: 'change',
    header: 'Recording',
    cell: (c) => (
      <span>
        {state(c.old)} <span aria-label="became">→</span> <b>{state(c.new)}</b>
      </span>
    ),
  },
  { id: 'reason', header: 'Reason', cell: (c) => <span className="break">{c.reason || <span className="none">–</span>}</span> },
];

/** RecordingChanges is the change log, of one user or of the whole company. It is nothing where the experiment is off. */
export function RecordingChanges({ company, user }: { company: string; user?: string }) {
  if (useRecordingOpen(company) !== true) return null;
  return (
    <Section heading="Changes of call recording">
      <List
        what="recording changes"
        queryKey={['recording-changes', company, user ?? '']}
        load={(p, signal) => settings.recordingChanges(company, user, p, signal)}
        columns={recordingColumns(company)}
        rowKey={(c) => c.id}
        empty="Nobody has changed call recording."
      />
    </Section>
  );
}

/** UserRecording is a user's state and its log. */
export function UserRecording({ company, user }: { company: string; user: string }) {
  return (
    <>
      <RecordingSetting company={company} level={{ kind: 'user', id: user }} heading="Call recording" />
      <RecordingChanges company={company} user={user} />
    </>
  );
}

/** CallRecording answers why a call was or was not recorded. It is nothing where the experiment is off. */
export function CallRecording({ company, call }: { company: string; call: string }) {
  const open = useRecordingOpen(company);
  const found = useQuery({
    queryKey: ['call-recording', company, call],
    queryFn: ({ signal }) => settings.callRecording(company, call, signal),
    enabled: open === true,
  });
  if (found.isPending) return null;
  return (
    <Section heading={found.data?.enabled === false ? 'Why this call was not recorded' : 'Call recording'} id="recording">
      {found.isError ? <Failure error={found.error} what="recording" retry={() => void found.refetch()} /> : null}
      {found.data ? (
        <div className="plain">
          <p>{found.data.sentence}</p>
          {found.data.changes_since.length > 0 ? (
            <>
              <h3>Changed after the call began</h3>
              <ul>
                {found.data.changes_since.map((c) => (
                  <li key={c.id}>
                    <Moment at={c.at} /> {c.by.name}: {title(c.level)} {c.level_name || c.level_id} {state(c.old)} → {state(c.new)} <span className="muted">{c.reason}</span>
                  </li>
                ))}
              </ul>
            </>
          ) : null}
        </div>
      ) : null}
    </Section>
  );
}
