import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState } from 'react';
import { api, ApiError, type Call, type Message, type Sample } from '../api';
import { headline } from '../bands';
import { CallBody } from '../components/CallBody';
import { CallEvents } from '../components/CallEvents';
import { CallRecording } from '../components/Recording';
import { Freeze, SnapshotsOf } from '../components/Snapshots';
import { copyText, Failure, Loading, useTitle } from '../components/ui';
import { Explained } from '../components/Why';
import { type Loaded, loadSamples } from '../samples';

const route = getRouteApi('/c/$company/calls/$call');
const liveMs = 2000;
const noSamples: Sample[] = [];
const noMessages: Message[] = [];

// Reports that come later than this change no verdict any more.
const lateMs = 150_000;

/** refresh says how often to ask again: a live call every 2 s, one whose verdict late reports may still change every 5 s. */
function refresh(call: Call | undefined): number | false {
  if (!call) return false;
  if (call.state === 'live') return liveMs;
  const fresh = !!call.ended_at && Date.now() - Date.parse(call.ended_at) < lateMs;
  return call.verdict?.final === false || fresh ? 5000 : false;
}

export function CallPage() {
  const { company, call: id } = route.useParams();
  const found = useQuery({
    queryKey: ['call', company, id],
    queryFn: ({ signal }) => api.call(company, id, signal),
    refetchInterval: (q) => refresh(q.state.data),
  });
  useTitle(found.data ? `${headline(found.data)} · call ${id}` : 'Call');
  if (found.isPending) return <Loading what="the call" />;
  if (found.isError && !found.data) {
    return (
      <>
        <Failure error={found.error} what="call" retry={() => void found.refetch()} />
        {found.error instanceof ApiError && found.error.status === 404 ? <SnapshotsOf company={company} call={id} /> : null}
      </>
    );
  }
  return <CallView company={company} call={found.data!} />;
}

function CallView({ company, call }: { company: string; call: Call }) {
  const client = useQueryClient();
  const every = refresh(call);
  const samplesKey = useMemo(() => ['samples', company, call.id], [company, call.id]);
  const samples = useQuery({
    queryKey: samplesKey,
    queryFn: ({ signal }) => {
      // Once the call has ended everything is read again: a late report may stand in the middle.
      const before = every ? client.getQueryData<Loaded>(samplesKey) : undefined;
      return loadSamples((p) => api.samples(company, call.id, p, signal), before);
    },
    refetchInterval: every,
  });
  const messages = useQuery({
    queryKey: ['messages', company, call.id],
    queryFn: ({ signal }) => api.messages(company, call.id, { limit: 1000 }, signal),
    refetchInterval: every,
  });
  const settled = useRef(every === false);
  useEffect(() => {
    if (every === false && !settled.current) {
      void client.invalidateQueries({ queryKey: samplesKey });
      void client.invalidateQueries({ queryKey: ['messages', company, call.id] });
    }
    settled.current = every === false;
  }, [every, client, samplesKey, company, call.id]);

  const rows = useMemo(() => samples.data?.pages.flatMap((p) => p.items) ?? noSamples, [samples.data]);
  return (
    <Explained company={company} call={call.id} version={call.verdict?.version ?? 0}>
      <CallBody
        company={company}
        call={call}
        samples={{
          items: rows, pending: samples.isPending, error: samples.isError && !samples.data ? samples.error : null, retry: () => void samples.refetch(),
          truncated: samples.data?.truncated ?? false,
        }}
        messages={{
          items: messages.data?.items ?? noMessages, pending: messages.isPending, error: messages.isError && !messages.data ? messages.error : null,
          retry: () => void messages.refetch(), truncated: !!messages.data?.next_cursor,
        }}
        pcap={api.pcapURL(company, call.id)}
        actions={<Report company={company} call={call} />}
      >
        <CallEvents company={company} call={call.id} live={call.state === 'live'} />
        <CallRecording company={company} call={call.id} />
        <SnapshotsOf company={company} call={call.id} />
      </CallBody>
    </Explained>
  );
}

/** Report gives what a ticket needs, on the clipboard and to look at. */
function Report({ company, call }: { company: string; call: Call }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [note, setNote] = useState('');
  const [busy, setBusy] = useState(false);
  const copy = async (markdown: string) => setNote((await copyText(markdown)) ? 'Copied to the clipboard.' : 'The browser did not let it be copied: copy it by hand.');
  const open = async () => {
    setBusy(true);
    try {
      const markdown = await api.report(company, call.id);
      setText(markdown);
      dialog.current?.showModal();
      await copy(markdown);
    } catch (error) {
      setText('');
      setNote(`Cannot make the report: ${error instanceof Error ? error.message : String(error)}`);
      dialog.current?.showModal();
    } finally {
      setBusy(false);
    }
  };
  return (
    <div className="actions">
      <button type="button" className="primary" disabled={busy} onClick={() => void open()}>
        Report this call
      </button>
      <dialog ref={dialog} aria-labelledby="report-heading">
        <h2 id="report-heading">Report of this call</h2>
        <p role="status">{note}</p>
        {text ? <textarea readOnly value={text} rows={14} aria-label="Report in Markdown" /> : null}
        <Freeze company={company} call={call.id} />
        <form method="dialog" className="actions">
          {text ? (
            <>
              <button type="button" onClick={() => void copy(text)}>
                Copy again
              </button>
              <a className="button" href={`data:text/markdown;charset=utf-8,${encodeURIComponent(text)}`} download={`call-${call.id.replace(/[^\w.-]+/g, '_')}.md`}>
                Save as a file
              </a>
            </>
          ) : null}
          <button type="submit" className="primary">
            Close
          </button>
        </form>
      </dialog>
    </div>
  );
}
