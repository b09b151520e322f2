// The routes of notes, experiments, recording, proxy sessions, call events, subscriptions and the audit log.
import { companyPath, json, type Page, type Params, part, type Party, query, send, userPath as user } from './api';
import { placeOf } from './places';

export interface Actor {
  kind: string;
  id: string;
  name: string;
}

export interface FieldChange {
  field: string;
  old: string;
  new: string;
}

export interface Note {
  id: string;
  at: string;
  kind: 'note' | 'change' | 'proxy';
  author: Actor;
  user?: string;
  action?: string;
  text: string;
  changes: FieldChange[];
  proxy_session: string | null;
}

export interface AuditEntry {
  id: string;
  at: string;
  actor: Actor;
  action: string;
  subject: { kind: string; id: string };
  text?: string;
  count?: number;
  changes: FieldChange[];
  proxy_session: string | null;
}

export interface Experiment {
  key: string;
  description: string;
  enabled: boolean | null;
  effective: boolean;
  /** from says which level decides for a user: user, company or default. */
  from?: string;
  set_by?: string | null;
  set_at?: string | null;
  /** users is for how many it is set otherwise. */
  users?: number;
}

export interface RecordingState {
  enabled: boolean | null;
  effective: boolean;
  from: string;
  from_name?: string | null;
  set_by?: string | null;
  set_at?: string | null;
  reason?: string | null;
}

export interface RecordingChange {
  id: string;
  at: string;
  level: string;
  /** level_id is the place or user that it was changed for, empty for the company. */
  level_id: string;
  level_name?: string | null;
  old: boolean | null;
  new: boolean | null;
  by: { name: string };
  reason: string;
}

export interface CallRecording {
  at: string;
  enabled: boolean;
  from: string;
  sentence: string;
  changes_since: RecordingChange[];
}

export interface ProxySession {
  id: string;
  user: string;
  reason: string;
  by: string;
  started_at: string;
  expires_at: string;
  ended_at: string | null;
}

export interface Account {
  name: string;
  email: string;
  voicemail_greeting: string;
}

export interface CallEvent {
  id: string;
  type: string;
  at: string;
  call: string;
  target?: Party | null;
  contact?: Party | null;
  agent?: Party | null;
  reason?: string | null;
  explanation?: string | null;
  text?: string | null;
  verdict?: { version: number; overall: string; one_way_state?: string | null } | null;
}

export interface Reason {
  id: string;
  title: string;
  explanation: string;
}

export interface Subscription {
  id: string;
  url: string;
  target: { kind: string; id: string | null };
  types: string[];
  enabled: boolean;
  description: string;
  secret?: string;
  state: 'ok' | 'failing' | 'disabled';
  last_success_at: string | null;
  failing_since: string | null;
  pending: number;
  /** disabled_reason is in words, empty while it delivers. */
  disabled_reason: string;
  last_error: string;
  previous_secret_until: string | null;
  created_at: string;
}

export interface Delivery {
  id: string;
  event_id: string;
  type: string;
  call: string;
  state: 'pending' | 'delivered' | 'dead';
  attempt_count: number;
  /** attempts are the last of them. */
  attempts: { at: string; status: number; error: string; took_ms: number }[];
  next_attempt_at: string | null;
  created_at: string;
  delivered_at: string | null;
}

export interface Rating {
  id: string;
  at: string;
  call_id: string;
  user_id: string | null;
  name: string;
  rating: number;
  text: string;
}

/** eventTypes are the moments in the life of a call. */
export const eventTypes = [
  'started', 'ringing', 'connected', 'held', 'resumed', 'muted', 'unmuted', 'transferred', 'ended', 'rejected', 'rated', 'recording_changed', 'verdict',
] as const;

/** subscribable are the events of calls, and a device that has to register anew. */
export const subscribable = [...eventTypes, 'device_reregister'] as const;

/** companyOrUser is where routes begin that a company and a user both have. */
const companyOrUser = (c: string, u: string | undefined) => (u === undefined ? companyPath(c) : user(c, u));

/** Level is the company, a place in it or a user. */
export interface Level {
  kind: 'company' | 'office' | 'department' | 'contact_center' | 'user';
  id: string;
}

const recordingPath = (c: string, level: Level) =>
  level.kind === 'company' ? `${companyPath(c)}/recording` : `${companyPath(c)}/${placeOf(level.kind)?.kind ?? 'users'}/${part(level.id)}/recording`;

export const settings = {
  notes: (c: string, u: string | undefined, p: Params, signal?: AbortSignal) =>
    json<Page<Note>>(`${companyOrUser(c, u)}/notes${query(p)}`, signal),
  addNote: (c: string, u: string, text: string) => send<Note>('POST', `${user(c, u)}/notes`, { text }),
  audit: (c: string, p: Params, signal?: AbortSignal) => json<Page<AuditEntry>>(`${companyPath(c)}/audit${query(p)}`, signal),

  experiments: (c: string, u?: string, signal?: AbortSignal) =>
    json<Page<Experiment>>(`${companyOrUser(c, u)}/experiments${query({ limit: 1000 })}`, signal),
  setExperiment: (c: string, u: string | undefined, key: string, body: { enabled: boolean; description?: string }) =>
    send<Experiment>('PUT', `${companyOrUser(c, u)}/experiments/${part(key)}`, body),
  removeExperiment: (c: string, u: string | undefined, key: string) =>
    send<void>('DELETE', `${companyOrUser(c, u)}/experiments/${part(key)}`),

  recording: (c: string, level: Level, signal?: AbortSignal) => json<RecordingState>(recordingPath(c, level), signal),
  setRecording: (c: string, level: Level, body: { enabled: boolean | null; reason: string }) => send<RecordingState>('PUT', recordingPath(c, level), body),
  recordingChanges: (c: string, u: string | undefined, p: Params, signal?: AbortSignal) =>
    json<Page<RecordingChange>>(`${companyOrUser(c, u)}/recording-changes${query(p)}`, signal),
  callRecording: (c: string, call: string, signal?: AbortSignal) => json<CallRecording>(`${companyPath(c)}/calls/${part(call)}/recording`, signal),

  proxySessions: (c: string, u: string, signal?: AbortSignal) => json<Page<ProxySession>>(`${user(c, u)}/proxy-sessions`, signal),
  openProxy: (c: string, u: string, body: { reason: string; minutes: number }) => send<ProxySession>('POST', `${user(c, u)}/proxy-sessions`, body),
  endProxy: (c: string, u: string, id: string) => send<void>('DELETE', `${user(c, u)}/proxy-sessions/${part(id)}`),
  account: (c: string, u: string, id: string, signal?: AbortSignal) => json<Account>(`${user(c, u)}/proxy-sessions/${part(id)}/account`, signal),
  setAccount: (c: string, u: string, id: string, body: Partial<Account>) => send<Account>('PATCH', `${user(c, u)}/proxy-sessions/${part(id)}/account`, body),

  callEvents: (c: string, call: string, p: Params, signal?: AbortSignal) => json<Page<CallEvent>>(`${companyPath(c)}/calls/${part(call)}/events${query(p)}`, signal),
  events: (c: string, p: Params, signal?: AbortSignal) => json<Page<CallEvent>>(`${companyPath(c)}/events${query(p)}`, signal),
  reasons: (c: string, signal?: AbortSignal) => json<Page<Reason>>(`${companyPath(c)}/rejections/reasons`, signal),

  subscriptions: (c: string, p: Params, signal?: AbortSignal) => json<Page<Subscription>>(`${companyPath(c)}/subscriptions${query(p)}`, signal),
  subscription: (c: string, id: string, signal?: AbortSignal) => json<Subscription>(`${companyPath(c)}/subscriptions/${part(id)}`, signal),
  addSubscription: (c: string, body: object) => send<Subscription>('POST', `${companyPath(c)}/subscriptions`, body),
  changeSubscription: (c: string, id: string, body: object) => send<Subscription>('PATCH', `${companyPath(c)}/subscriptions/${part(id)}`, body),
  removeSubscription: (c: string, id: string) => send<void>('DELETE', `${companyPath(c)}/subscriptions/${part(id)}`),
  rotateSecret: (c: string, id: string) => send<Subscription>('POST', `${companyPath(c)}/subscriptions/${part(id)}/rotate-secret`),
  testSubscription: (c: string, id: string) => send<Delivery>('POST', `${companyPath(c)}/subscriptions/${part(id)}/test`),
  deliveries: (c: string, id: string, p: Params, signal?: AbortSignal) => json<Page<Delivery>>(`${companyPath(c)}/subscriptions/${part(id)}/deliveries${query(p)}`, signal),
  redeliver: (c: string, id: string, delivery: string) => send<Delivery>('POST', `${companyPath(c)}/subscriptions/${part(id)}/deliveries/${part(delivery)}/redeliver`),

  ratings: (c: string, u: string | undefined, p: Params, signal?: AbortSignal) => json<Page<Rating>>(`${companyOrUser(c, u)}/ratings${query(p)}`, signal),
};

const done: Record<string, string> = {
  create: 'created', update: 'changed', delete: 'deleted', remove: 'removed', transfer: 'transferred', release: 'released', revoke: 'revoked', end: 'ended', start: 'started',
  rotate_secret: 'got a new secret', redeliver: 'event sent again', clear: 'cleared', note: 'noted', port: 'ported', test: 'tested',
};

/** deed says an action of the journal in words: number.transfer → number transferred. */
export function deed(action: string): string {
  const [subject = '', verb] = action.split('.');
  const kind = subject.replaceAll('_', ' ');
  return verb ? `${kind} ${done[verb] ?? verb.replaceAll('_', ' ')}` : kind;
}
