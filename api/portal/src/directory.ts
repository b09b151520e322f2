// The directory as the portal changes it: people, numbers, places, ports and devices.
import { ApiError, companyPath, type Device, json, type NumberItem, type Page, type Params, part, query, refuse, send, type User, userPath as user } from './api';
import { jsonLines } from './ndjson';

export type OwnerKind = 'user' | 'department' | 'office' | 'room' | 'contact_center';

export interface Owner {
  kind: OwnerKind;
  id: string;
  name?: string | null;
}

export interface FullUser extends User {
  contact_centers?: string[] | null;
  voicemail_greeting?: string | null;
  updated_at?: string | null;
}

/** UserChange is what may be said of a user; what is left out stays. */
export interface UserChange {
  id?: string;
  name?: string;
  email?: string;
  state?: string;
  office?: string;
  numbers?: string[];
  aors?: string[];
  departments?: string[];
  contact_centers?: string[];
  voicemail_greeting?: string;
}

/** Deletion is what deleting a user would do. */
export interface Deletion {
  numbers: { number: string; becomes: string }[];
  devices: { id: string; name: string; becomes: string }[];
  aors: string[];
  memberships: number;
  recording_settings: number;
  subscriptions: number;
  warnings: string[];
}

export type AppKind = 'native' | 'packaged_app' | 'web' | 'harness' | 'mobile' | 'desk_phone' | 'sip';

/** UserDevice is a device with what the directory adds to what was measured. */
export interface UserDevice extends Device {
  app_kind?: AppKind | '' | null;
  version?: string | null;
  version_updated_at?: string | null;
  outdated?: boolean;
  latest_version?: string | null;
  registered_since?: string | null;
  /** registered_reason says why registered is null. */
  registered_reason?: string | null;
  /** name is that of its credentials. */
  name?: string | null;
  user_name?: string | null;
  credentials?: boolean;
  reregister?: { state: 'none' | 'revoked' | 'asked'; instructions: string[] } | null;
}

export interface DeviceDeletion {
  instructions: string[];
  credentials_revoked: number;
  webhook: boolean;
}

export interface Credential {
  device: string;
  aor: string;
  username: string;
  realm: string;
  created_at: string;
  revoked_at: string | null;
}

export interface NewCredential extends Credential {
  secret: string;
}

/** AppRelease is the latest version of a kind of app; app and platform narrow it where they are not empty. */
export interface AppRelease {
  kind: AppKind;
  app?: string;
  platform?: string;
  version: string;
  released_at: string | null;
  /** from says who set it: the company itself, or the operator for all. */
  from?: 'company' | 'all';
}

export interface ReleaseName {
  kind: string;
  app?: string;
  platform?: string;
}

/** Tenure is a stretch of time in which a number was someone's, or no one's. */
export interface Tenure {
  owner: Owner | null;
  status: string;
  from: string;
  until: string | null;
  by?: { name: string } | null;
  reason?: string | null;
}

export interface FullNumber extends NumberItem {
  since?: string | null;
}

export type PortState = 'draft' | 'submitted' | 'foc_received' | 'rejected' | 'completed' | 'cancelled';

export interface PortRequest {
  id: string;
  batch_id: string;
  office: string | null;
  lnp_id: string;
  dids: number;
  numbers?: string[] | null;
  port_type: 'port_in' | 'port_out';
  state: PortState;
  requested_at: string | null;
  modified_at: string | null;
  foc_date: string | null;
  target: Owner | null;
  carrier: string;
  rejection_reason?: string | null;
  /** transitions are the states that it may go to from here. */
  transitions?: PortState[] | null;
  history?: { at: string; from: string; to: string; by: { name: string } | string | null; text?: string | null }[] | null;
}

export interface PortChange {
  batch_id?: string;
  office?: string;
  lnp_id?: string;
  port_type?: string;
  numbers?: string[];
  carrier?: string;
  foc_date?: string | null;
  target?: { kind: string; id: string } | null;
}

export type PlaceKind = 'offices' | 'departments' | 'rooms' | 'contact-centers';

export interface Place {
  id: string;
  name: string;
  office?: string | null;
  numbers: string[];
  users: number;
  created_at: string;
}

export interface ImportError {
  line: number;
  column: string;
  message: string;
}

export interface ImportResult {
  dry_run: boolean;
  rows: number;
  created: number;
  errors: ImportError[];
  /** errors_total counts those that were cut too. */
  errors_total?: number;
}

export interface ImportProgress {
  rows_checked: number;
  rows_stored: number;
  total: number;
}

const number = (c: string, n: string) => `${companyPath(c)}/numbers/${part(n)}`;
const port = (c: string, p: string) => `${companyPath(c)}/port-requests/${part(p)}`;
const release = (c: string, r: ReleaseName) => `${companyPath(c)}/app-releases/${part(r.kind)}${query({ app: r.app, platform: r.platform })}`;
const place = (c: string, kind: PlaceKind, id: string) => `${companyPath(c)}/${kind}/${part(id)}`;

/** directory has one function per administrative route that the portal uses. */
export const directory = {
  user: (c: string, u: string, signal?: AbortSignal) => json<FullUser>(user(c, u), signal),
  createUser: (c: string, v: UserChange) => send<FullUser>('POST', `${companyPath(c)}/users`, v),
  updateUser: (c: string, u: string, v: UserChange) => send<FullUser>('PATCH', user(c, u), v),
  deletion: (c: string, u: string, signal?: AbortSignal) => json<Deletion>(`${user(c, u)}/deletion`, signal),
  deleteUser: (c: string, u: string) => send('DELETE', user(c, u)),

  devices: (c: string, u: string, signal?: AbortSignal) => json<Page<UserDevice>>(`${user(c, u)}/devices`, signal),
  deleteDevice: (c: string, u: string, d: string) => send<DeviceDeletion | undefined>('DELETE', `${user(c, u)}/devices/${part(d)}`),
  credentials: (c: string, u: string, d: string, signal?: AbortSignal) => json<Page<Credential>>(`${user(c, u)}/devices/${part(d)}/credentials`, signal),
  createCredentials: (c: string, u: string, d: string, aor: string) =>
    send<NewCredential>('POST', `${user(c, u)}/devices/${part(d)}/credentials`, aor ? { aor } : {}),
  revokeCredentials: (c: string, u: string, d: string) => send('DELETE', `${user(c, u)}/devices/${part(d)}/credentials`),
  companyDevices: (c: string, p: Params, signal?: AbortSignal) => json<Page<UserDevice>>(`${companyPath(c)}/devices${query(p)}`, signal),
  releases: (c: string, signal?: AbortSignal) => json<Page<AppRelease>>(`${companyPath(c)}/app-releases`, signal),
  setRelease: (c: string, of: ReleaseName, v: { version: string; released_at?: string }) => send<AppRelease>('PUT', release(c, of), v),
  deleteRelease: (c: string, of: ReleaseName) => send('DELETE', release(c, of)),

  numbers: (c: string, p: Params, signal?: AbortSignal) => json<Page<FullNumber>>(`${companyPath(c)}/numbers${query(p)}`, signal),
  number: (c: string, n: string, signal?: AbortSignal) => json<FullNumber>(number(c, n), signal),
  createNumber: (c: string, v: { number: string; owner?: { kind: string; id: string } }) => send<FullNumber>('POST', `${companyPath(c)}/numbers`, v),
  numberHistory: (c: string, n: string, p: Params, signal?: AbortSignal) => json<Page<Tenure>>(`${number(c, n)}/history${query(p)}`, signal),
  ownerAt: (c: string, n: string, at: string, signal?: AbortSignal) => json<Tenure>(`${number(c, n)}/owner${query({ at })}`, signal),
  transfer: (c: string, n: string, to: { kind: string; id?: string }, reason: string) =>
    send<FullNumber>('POST', `${number(c, n)}/transfer`, reason ? { to, reason } : { to }),

  ports: (c: string, p: Params, signal?: AbortSignal) => json<Page<PortRequest>>(`${companyPath(c)}/port-requests${query(p)}`, signal),
  port: (c: string, p: string, signal?: AbortSignal) => json<PortRequest>(port(c, p), signal),
  createPort: (c: string, v: PortChange) => send<PortRequest>('POST', `${companyPath(c)}/port-requests`, v),
  updatePort: (c: string, p: string, v: PortChange) => send<PortRequest>('PATCH', port(c, p), v),
  transitionPort: (c: string, p: string, v: { to: string; foc_date?: string; reason?: string }) => send<PortRequest>('POST', `${port(c, p)}/transition`, v),

  places: (c: string, kind: PlaceKind, p: Params, signal?: AbortSignal) => json<Page<Place>>(`${companyPath(c)}/${kind}${query(p)}`, signal),
  place: (c: string, kind: PlaceKind, id: string, signal?: AbortSignal) => json<Place>(place(c, kind, id), signal),
  members: (c: string, kind: PlaceKind, id: string, p: Params, signal?: AbortSignal) => json<Page<User>>(`${place(c, kind, id)}/members${query(p)}`, signal),
  createPlace: (c: string, kind: PlaceKind, v: { id?: string; name: string; office?: string }) => send<Place>('POST', `${companyPath(c)}/${kind}`, v),
  updatePlace: (c: string, kind: PlaceKind, id: string, v: { name?: string; office?: string }) => send<Place>('PATCH', place(c, kind, id), v),
  deletePlace: (c: string, kind: PlaceKind, id: string) => send('DELETE', place(c, kind, id)),

  importUsers,
};

/** importUsers sends a CSV file and tells how far the API is with it; what is wrong with rows is in the result. */
async function importUsers(c: string, file: Blob, p: { dryRun: boolean; office: string }, progress: (p: ImportProgress) => void, signal?: AbortSignal): Promise<ImportResult> {
  const response = await fetch(`${companyPath(c)}/users/import${query({ dry_run: p.dryRun, office: p.office })}`, {
    method: 'POST',
    credentials: 'same-origin',
    headers: { 'Content-Type': 'text/csv', Accept: 'application/x-ndjson' },
    body: file,
    signal,
  });
  if (!response.ok) {
    try {
      return await refuse(response);
    } catch (error) {
      const rows = error instanceof ApiError ? rowErrors(error.problem) : null;
      if (rows) return rows;
      throw error;
    }
  }
  let result: ImportResult | null = null;
  for await (const line of jsonLines(response.body!)) {
    const said = line as Partial<ImportResult & ImportProgress> & { status?: number; title?: string; detail?: string };
    if (typeof said.status === 'number' && said.status >= 400) {
      const rows = rowErrors(said as Record<string, unknown>);
      if (!rows) throw new ApiError(said.status, said.detail || said.title || 'the import failed', said as Record<string, unknown>);
      result = rows;
    } else if (typeof said.created === 'number') result = said as ImportResult;
    else if (typeof said.rows_checked === 'number') progress({ rows_checked: said.rows_checked, rows_stored: said.rows_stored ?? 0, total: said.total ?? 0 });
  }
  if (!result) throw new Error('the answer ended before the import did; ask for the users to see whether they were stored');
  return result;
}

/** rowErrors reads a problem that names rows of the file; null where it is about something else. */
export function rowErrors(problem: Record<string, unknown>): ImportResult | null {
  const errors = (Array.isArray(problem.errors) ? problem.errors : []).filter((e: Partial<ImportError>): e is ImportError => typeof e.line === 'number');
  if (errors.length === 0) return null;
  const count = (v: unknown) => (typeof v === 'number' ? v : 0);
  return { dry_run: problem.dry_run === true, rows: count(problem.rows), created: 0, errors, errors_total: count(problem.errors_total) || errors.length };
}
