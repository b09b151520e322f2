// The HTTP API as the portal sees it: shapes of the answers and how to ask.
import { timeZone } from './format';

export type Band = 'good' | 'acceptable' | 'bad' | 'unacceptable' | 'unknown';
export type Side = 'target' | 'contact' | 'server';
export type Direction = 'target_to_contact' | 'contact_to_target';
export type SampleSource = 'webrtc' | 'rtcp' | 'rtp' | 'rtcp_xr' | 'vq_rtcpxr' | 'sip';

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface Company {
  id: string;
  name: string;
  /** Counts are null where the store that knows them does not answer. */
  counts?: {
    users?: number | null;
    numbers?: number | null;
    devices?: number | null;
    registered?: number | null;
    calls_today?: number | null;
    live_calls?: number | null;
    rejections_today?: number | null;
  };
  links?: Record<string, string>;
}

export interface Whoami {
  name: string;
  role: string;
  company: string | null;
  expires_at: string | null;
  /** proxy is the session in which the caller acts for a user. */
  proxy?: { id: string; company: string; user: string; user_name: string; reason: string; expires_at: string } | null;
}

export interface User {
  id: string;
  name: string;
  email?: string | null;
  state: string;
  office?: string | null;
  numbers?: string[] | null;
  aors?: string[] | null;
  app_versions?: string[] | null;
  departments?: string[] | null;
  created_at?: string | null;
}

export interface Device {
  id: string;
  user_id: string;
  aor: string;
  platform?: string | null;
  endpoint?: string | null;
  app?: string | null;
  app_version?: string | null;
  user_agent?: string | null;
  updated_at?: string | null;
  registered: boolean | null;
  /** registered, unregistered, lapsed, failed; empty where registered is null. */
  state: string;
  registered_at?: string | null;
  expires_at?: string | null;
  contact?: string | null;
  source?: string | null;
  health?: Health | null;
}

export interface Registration {
  aor: string;
  device_id: string;
  user_id?: string | null;
  user_name?: string | null;
  contact?: string | null;
  source?: string | null;
  user_agent?: string | null;
  app?: string | null;
  app_version?: string | null;
  endpoint?: string | null;
  platform?: string | null;
  state: string;
  registered: boolean;
  registered_at?: string | null;
  expires_at?: string | null;
  updated_at?: string | null;
  flapping?: boolean;
  health?: Health | null;
  app_kind?: string | null;
  version?: string | null;
  outdated?: boolean;
  latest_version?: string | null;
}

/** Sentence is an observation, told as the evidence of a verdict is. */
export interface Sentence {
  kind: string;
  at: string | null;
  text: string;
  values?: Record<string, number> | null;
}

export interface AppVersion {
  app: string;
  app_version: string;
  user_agent: string;
  first_seen: string;
  last_seen: string;
}

export interface Health {
  state: string;
  since: string | null;
  sentences: Sentence[];
  lapses_24h: number;
  auth_failures_24h: number;
  source_changes_24h: number;
  registered_share_24h: number;
  versions: AppVersion[];
}

export interface RegistrationHealth {
  devices: number;
  states: Record<string, number>;
  versions: { app: string; app_version: string; devices: number; registered: number; last_seen: string | null }[];
}

export interface RegistrationSpan {
  state: 'registered' | 'lapsed' | 'unregistered' | 'unknown';
  from: string;
  to: string;
  reason: string;
  text: string;
}

export interface DeviceTimeline {
  device: Registration;
  from: string;
  to: string;
  at: { at: string; registered: boolean | null; state: string; text: string } | null;
  registered_share: number;
  spans: RegistrationSpan[];
  events: RegistrationChange[];
  events_left_out: boolean;
  versions: AppVersion[];
}

/** BaselineFigure is a number of a call against that of the calls before. */
export interface BaselineFigure {
  calls: number;
  p50: number;
  /** p90 is the 90th percentile; of MOS, where low is bad, the 10th. */
  p90: number;
  this: number | null;
  ratio: number | null;
  remarkable: boolean;
  recent_calls: number;
  recent_p50: number | null;
}

export interface Baseline {
  kind: 'user' | 'network' | 'office' | 'app_version';
  id: string;
  name: string;
  calls: number;
  since: string | null;
  rtt_ms: BaselineFigure | null;
  rtt_p95_ms: BaselineFigure | null;
  jitter_ms: BaselineFigure | null;
  loss_percent: BaselineFigure | null;
  mos: BaselineFigure | null;
}

export interface RegistrationChange {
  at: string;
  aor: string;
  device_id: string;
  change: string;
  contact?: string | null;
  source?: string | null;
  user_agent?: string | null;
  sip_status?: number | null;
  expires_at?: string | null;
  registered: boolean;
  flapping?: boolean;
  text?: string | null;
  timeline?: string | null;
}

/** IngestAccount is what ingesters received from one agent: received = produced + rejected + dropped, beside what is in flight. */
export interface IngestAccount {
  listener: string;
  agent: string;
  received: number;
  produced: number;
  rejected: number;
  dropped: number;
  kernel_dropped: number;
  reasons: { outcome: string; reason: string; count: number }[];
  last_at: string | null;
}

export interface NumberItem {
  number: string;
  national?: string | null;
  type?: string | null;
  status?: string | null;
  area_code?: string | null;
  prefix?: string | null;
  region?: string | null;
  owner?: { kind: string; id: string; name?: string | null } | null;
}

export interface Party {
  user_id?: string | null;
  name?: string | null;
  number?: string | null;
  endpoint?: string | null;
  app_version?: string | null;
  platform?: string | null;
}

export interface Distribution {
  min?: number | null;
  p50?: number | null;
  p95?: number | null;
  max?: number | null;
}

export interface Evidence {
  kind: string;
  leg?: string | null;
  at?: string | null;
  text: string;
  values?: Record<string, number> | null;
  side?: string | null;
  direction?: string | null;
  /** until is set where the evidence is a span. */
  until?: string | null;
  /** graph is where it is to be seen: rtt, jitter, loss, level, jitter_buffer, mos, ladder. */
  graph?: string | null;
}

/** DeadSpan is a time in which nothing of one direction arrived. */
export interface DeadSpan {
  direction: Direction;
  since: string | null;
  until: string | null;
  confidence: number;
  healed: boolean;
}

/** PathSegment is a part of the way that was measured apart from the others. */
export interface PathSegment {
  from: string;
  to: string;
  rtt_ms?: Distribution | null;
  target_to_contact_jitter_ms?: number | null;
  contact_to_target_jitter_ms?: number | null;
  target_to_contact_loss_percent?: number | null;
  contact_to_target_loss_percent?: number | null;
  band: Band;
  /** source is what splits the way: capture_point or server. */
  source: string;
}

/** Explanation says how one number came to be. */
export interface Explanation {
  name: string;
  value: number | null;
  unit?: string;
  formula: string;
  inputs?: { name: string; value: number; unit?: string }[];
  clock_rate?: { codec: string; hz: number }[];
  source?: { kind: string; side?: string; samples?: number; formula?: string; standard?: string }[];
  standard?: string;
  rules?: { version: string; text: string };
  band?: string;
  evidence?: number[];
}

export type Explained = { explain?: Record<string, Explanation> };

export interface OneWayAudio {
  state: 'none' | 'suspected' | 'confirmed' | 'unknown';
  direction?: Direction | 'both' | '' | null;
  from?: string | null;
  to?: string | null;
  since?: string | null;
  until?: string | null;
  confidence?: number | null;
  /** text is the sentence that stands in the report too. */
  text?: string;
  spans?: DeadSpan[] | null;
}

export interface Verdict {
  overall: Band;
  final: boolean;
  version?: number;
  computed_at?: string | null;
  rules?: string | null;
  delay?: { band: Band; rtt_ms?: Distribution | null; share?: Partial<Record<Band, number>> | null } | null;
  jitter?: {
    band: Band;
    jitter_ms?: Distribution | null;
    buffer_over_preferred_ratio?: number | null;
    concealment_percent?: number | null;
    target_to_contact_ms?: Distribution | null;
    contact_to_target_ms?: Distribution | null;
    buffer_ms?: number | null;
    buffer_preferred_ms?: number | null;
  } | null;
  loss?: {
    band: Band;
    percent?: number | null;
    burst_percent?: number | null;
    target_to_contact_percent?: number | null;
    contact_to_target_percent?: number | null;
    burst_ratio?: number | null;
  } | null;
  one_way_audio?: OneWayAudio | null;
  mos?: {
    min?: number | null;
    avg?: number | null;
    model?: string | null;
    inputs?: Record<string, number> | null;
    estimated?: boolean;
    codec?: string | null;
    direction?: string | null;
  } | null;
  fault_side?: string | null;
  fault_confidence?: number | null;
  segments?: PathSegment[] | null;
  /** thresholds that the bands follow from. */
  thresholds?: { delay_good_ms: number; delay_acceptable_ms: number; delay_bad_ms: number } | null;
  evidence?: Evidence[] | null;
  sources?: { kind: string; side?: string | null; samples?: number }[] | null;
}

export interface Leg {
  id: string;
  sip_call_id?: string | null;
  kind: string;
  side?: string | null;
  user_agent?: string | null;
  codec?: string | null;
  clock_rate?: number | null;
  address?: string | null;
  started_at?: string | null;
  ended_at?: string | null;
  user_id?: string | null;
  device_id?: string | null;
  linked_by?: string | null;
  link_confidence?: number | null;
}

export interface Call {
  id: string;
  company: string;
  state: 'live' | 'ended';
  direction: 'inbound' | 'outbound' | 'internal';
  target: Party;
  contact: Party;
  started_at: string;
  connected_at?: string | null;
  ended_at?: string | null;
  duration_ms?: number | null;
  description?: string | null;
  end?: { by?: string | null; sip_status?: number | null; reason?: string | null } | null;
  legs?: Leg[] | null;
  verdict?: Verdict | null;
  rejections?: CallRejection[] | null;
  ratings?: Rating[] | null;
  sip_call_ids?: string[] | null;
  linked_calls?: { call_id: string; linked_by: string; link_confidence: number }[] | null;
  links?: Record<string, string>;
  baselines?: Baseline[] | null;
  baseline_sentences?: Evidence[] | null;
}

export interface CallRejection {
  id?: string;
  reason: string;
  agent?: string | Agent | null;
  at: string;
  sip_status?: number | null;
  raw_reason?: string | null;
  text?: string | null;
}

export interface Rating {
  id?: string;
  at: string;
  call_id?: string;
  user_id?: string | null;
  name?: string | null;
  rating: number;
  text?: string | null;
}

export interface Sample {
  at: string;
  leg_id: string;
  side: Side;
  source: SampleSource;
  direction: Direction;
  ssrc?: number | null;
  codec?: string | null;
  clock_rate?: number | null;
  rtt_ms?: number | null;
  jitter_ms?: number | null;
  loss_percent?: number | null;
  packets?: number | null;
  packets_lost?: number | null;
  packets_discarded?: number | null;
  jitter_buffer_ms?: number | null;
  jitter_buffer_preferred_ms?: number | null;
  concealment_percent?: number | null;
  silent_concealment_percent?: number | null;
  audio_level?: number | null;
  mos?: number | null;
}

export interface Message {
  at: string;
  src: string;
  dst: string;
  transport?: string | null;
  method: string;
  status: number;
  reason_phrase?: string | null;
  cseq?: number | null;
  call_id?: string | null;
  summary?: string | null;
  raw: string;
}

export interface Agent {
  user_id?: string | null;
  name?: string | null;
  number?: string | null;
  department_id?: string | null;
  contact_center_id?: string | null;
}

export interface Rejection {
  id: string;
  at: string;
  call_id: string;
  reason: string;
  agent?: Agent | null;
  from_number?: string | null;
  to_number?: string | null;
  sip_status?: number | null;
  raw_reason?: string | null;
  text?: string | null;
  source?: string | null;
}

export interface Trend {
  interval: string;
  group_by: string;
  time_zone: string;
  from: string;
  to: string;
  series: { key: string; name?: string | null; total: number; points: { at: string; count: number }[] }[];
}

/** Percentiles are over calls; of MOS, where low is bad, p95 and p99 are the 5th and the 1st. */
export interface Percentiles {
  calls: number;
  p50: number;
  p95: number;
  p99: number;
}

export interface QualityFigures {
  calls: number;
  verdicts: Partial<Record<Band, number>>;
  shares: Partial<Record<Band, number>>;
  one_way: number;
  one_way_share: number | null;
  rtt_ms: Percentiles | null;
  jitter_ms: Percentiles | null;
  loss_percent: Percentiles | null;
  mos: Percentiles | null;
}

export interface QualitySeries extends QualityFigures {
  key: string;
  name: string;
  /** other are all groups that have no series of their own. */
  other: boolean;
  points: ({ at: string } & QualityFigures)[];
}

export interface QualityTrend {
  interval: string;
  group_by: string;
  time_zone: string;
  from: string;
  to: string;
  groups: number;
  total: QualitySeries;
  series: QualitySeries[];
}

/** ProblemField says what is wrong with one part of what was sent: body.email, query.cursor. */
export interface ProblemField {
  location: string;
  message: string;
}

/** ApiError carries the problem document (RFC 9457) of a refused request. */
export class ApiError extends Error {
  readonly status: number;
  readonly fields: ProblemField[];
  /** problem is the whole document, for what a route says beside the standard's members. */
  readonly problem: Record<string, unknown>;
  constructor(status: number, message: string, problem: Record<string, unknown> = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.problem = problem;
    const errors = Array.isArray(problem.errors) ? (problem.errors as Partial<ProblemField>[]) : [];
    this.fields = errors.filter((e): e is ProblemField => typeof e.location === 'string' && typeof e.message === 'string');
  }
}

export type Params = Record<string, string | number | boolean | null | undefined>;

/** query writes parameters, leaving out what is empty. */
export function query(params: Params): string {
  const q = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined || value === null || value === '') continue;
    q.set(key, String(value));
  }
  const text = q.toString();
  return text ? `?${text}` : '';
}

/** refuse throws what a response that is not ok says. */
export async function refuse(response: Response): Promise<never> {
  let message = `${response.status} ${response.statusText}`.trim();
  let problem: Record<string, unknown> = {};
  if (response.headers.get('content-type')?.includes('json')) {
    try {
      problem = (await response.json()) as Record<string, unknown>;
      message = String(problem.detail || problem.title || message);
    } catch {
      // The status line says enough.
    }
  }
  throw new ApiError(response.status, message, problem);
}

async function ask(path: string, accept: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(path, { headers: { Accept: accept }, credentials: 'same-origin', signal });
  if (!response.ok) return refuse(response);
  return response;
}

export async function json<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await ask(path, 'application/json', signal);
  return (await response.json()) as T;
}

/** send changes something. An answer without a body is undefined. */
export async function send<T = void>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await fetch(path, { method, headers, credentials: 'same-origin', body: body === undefined ? undefined : JSON.stringify(body) });
  if (!response.ok) return refuse(response);
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** download saves a list as CSV under a name, page after page where the route gives it so. */
export async function download(path: string, params: Params, name: string): Promise<void> {
  const pages: string[] = [];
  for (let cursor: string | null | undefined; ; ) {
    const response = await ask(`${path}${query({ ...params, cursor })}`, 'text/csv');
    const text = await response.text();
    // Each page has the header.
    pages.push(pages.length === 0 ? text : text.slice(text.indexOf('\n') + 1));
    cursor = response.headers.get('x-next-cursor');
    if (!cursor) break;
  }
  const url = URL.createObjectURL(new Blob(pages, { type: 'text/csv' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has the file's name and begins; it keeps the blob until it is done.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export const companyPath = (id: string) => `/api/v1/companies/${encodeURIComponent(id)}`;
/** part writes an id as a part of a path. */
export const part = encodeURIComponent;
export const userPath = (c: string, user: string) => `${companyPath(c)}/users/${part(user)}`;
const company = companyPath;
const id = part;

/** api has one function per route that the portal reads. */
export const api = {
  companies: (signal?: AbortSignal) => json<Page<Company>>('/api/v1/companies', signal),
  company: (c: string, signal?: AbortSignal) => json<Company>(`${company(c)}${query({ time_zone: timeZone() })}`, signal),
  whoami: (signal?: AbortSignal) => json<Whoami>('/api/v1/whoami', signal),
  signIn: async (key: string): Promise<void> => {
    const response = await fetch('/api/v1/session', {
      method: 'POST', credentials: 'same-origin', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ key }),
    });
    if (!response.ok) await refuse(response);
  },
  signOut: async (): Promise<void> => {
    const response = await fetch('/api/v1/session', { method: 'DELETE', credentials: 'same-origin' });
    if (!response.ok) await refuse(response);
  },
  users: (c: string, p: Params, signal?: AbortSignal) => json<Page<User>>(`${company(c)}/users${query(p)}`, signal),
  userRegistrations: (c: string, user: string, p: Params, signal?: AbortSignal) =>
    json<Page<Registration>>(`${userPath(c, user)}/registrations${query(p)}`, signal),
  userHistory: (c: string, user: string, p: Params, signal?: AbortSignal) =>
    json<Page<RegistrationChange>>(`${userPath(c, user)}/registrations${query({ ...p, history: true })}`, signal),
  registrations: (c: string, p: Params, signal?: AbortSignal) =>
    json<Page<Registration>>(`${company(c)}/registrations${query(p)}`, signal),
  history: (c: string, p: Params, signal?: AbortSignal) =>
    json<Page<RegistrationChange>>(`${company(c)}/registrations${query({ ...p, history: true })}`, signal),
  registrationHealth: (c: string, signal?: AbortSignal) => json<RegistrationHealth>(`${company(c)}/registrations/health`, signal),
  deviceTimeline: (c: string, device: string, p: Params, signal?: AbortSignal) =>
    json<DeviceTimeline>(`${company(c)}/devices/${id(device)}/timeline${query(p)}`, signal),
  ingest: (c: string, p: Params, signal?: AbortSignal) => json<Page<IngestAccount>>(`${company(c)}/ingest${query(p)}`, signal),
  numbers: (c: string, p: Params, signal?: AbortSignal) => json<Page<NumberItem>>(`${company(c)}/numbers${query(p)}`, signal),
  calls: (c: string, p: Params, signal?: AbortSignal) => json<Page<Call>>(`${company(c)}/calls${query(p)}`, signal),
  call: (c: string, call: string, signal?: AbortSignal) => json<Call>(`${company(c)}/calls/${id(call)}`, signal),
  /** explain says of every number of a call how it came to be, explainSamples the same of the columns behind the graphs. */
  explain: (c: string, call: string, signal?: AbortSignal) => json<Explained>(`${company(c)}/calls/${id(call)}${query({ explain: true })}`, signal),
  explainSamples: (c: string, call: string, signal?: AbortSignal) =>
    json<Explained>(`${company(c)}/calls/${id(call)}/samples${query({ explain: true, limit: 1000 })}`, signal),
  samples: (c: string, call: string, p: Params, signal?: AbortSignal) =>
    json<Page<Sample>>(`${company(c)}/calls/${id(call)}/samples${query(p)}`, signal),
  messages: (c: string, call: string, p: Params, signal?: AbortSignal) =>
    json<Page<Message>>(`${company(c)}/calls/${id(call)}/messages${query(p)}`, signal),
  rejections: (c: string, p: Params, signal?: AbortSignal) =>
    json<Page<Rejection>>(`${company(c)}/rejections${query(p)}`, signal),
  rejectionTrend: (c: string, p: Params, signal?: AbortSignal) =>
    json<Trend>(`${company(c)}/rejections/trend${query(p)}`, signal),
  qualityTrend: (c: string, p: Params, signal?: AbortSignal) => json<QualityTrend>(`${company(c)}/quality/trend${query(p)}`, signal),
  /** report is the Markdown that a ticket needs. */
  report: async (c: string, call: string): Promise<string> =>
    (await ask(`${company(c)}/calls/${id(call)}/report`, 'text/markdown')).text(),
  /** pcapURL downloads the call's SIP messages as a capture. */
  pcapURL: (c: string, call: string) => `${company(c)}/calls/${id(call)}/messages.pcap`,
};
