// The routes of frozen calls.
import { type Call, companyPath, type Explained, json, type Message, type Page, type Params, part, query, type Sample, send } from './api';
import type { Actor, CallEvent } from './settings';

export interface Snapshot {
  id: string;
  company: string;
  call_id: string;
  /** note has a ticket or a reason on each line. */
  note: string;
  created_at: string;
  created_by: Actor;
  bytes: number;
  links: Record<string, string>;
}

export interface WholeSnapshot extends Snapshot {
  call: Call & Explained;
  /** every is 1 where all samples are here, n where each n-th is. */
  samples: { items: Sample[]; total: number; every: number; truncated: boolean };
  samples_explain?: Explained['explain'];
  messages: { items: Message[]; truncated: boolean };
  events: { items: CallEvent[]; truncated: boolean };
  report: string;
}

const path = (id: string) => `/api/v1/snapshots/${part(id)}`;

export const snapshots = {
  create: (c: string, call: string, note: string) => send<Snapshot>('POST', `${companyPath(c)}/calls/${part(call)}/snapshots`, { note }),
  list: (c: string, p: Params, signal?: AbortSignal) => json<Page<Snapshot>>(`${companyPath(c)}/snapshots${query(p)}`, signal),
  get: (id: string, signal?: AbortSignal) => json<WholeSnapshot>(`${path(id)}${query({ explain: true })}`, signal),
  remove: (c: string, id: string) => send('DELETE', `${companyPath(c)}/snapshots/${part(id)}`),
  pcapURL: (id: string) => `${path(id)}/messages.pcap`,
};

/** left says what of a snapshot's parts was left out; empty where nothing was. */
export function left(s: WholeSnapshot): string[] {
  const out: string[] = [];
  if (s.samples.every > 1) {
    out.push(`The call had ${s.samples.total.toLocaleString('en')} samples; one of every ${s.samples.every} of each line is kept, so peaks between them may be missing. The verdict was made from all.`);
  }
  if (s.samples.truncated) out.push('The call was longer than a snapshot can hold: the end of its graphs is missing.');
  if (s.messages.truncated) out.push('There were more SIP messages; the first are kept.');
  if (s.events.truncated) out.push('There were more call events; the first are kept.');
  return out;
}
