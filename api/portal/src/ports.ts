// Port requests: their states, and which may follow which.
import type { PortRequest, PortState } from './directory';

export const portStates: PortState[] = ['draft', 'submitted', 'foc_received', 'rejected', 'completed', 'cancelled'];

const words: Record<PortState, string> = {
  draft: 'Draft',
  submitted: 'Submitted',
  foc_received: 'FOC received',
  rejected: 'Rejected',
  completed: 'Completed',
  cancelled: 'Cancelled',
};

export const portStateWord = (state: string): string => words[state as PortState] ?? state.replaceAll('_', ' ');

export const portTone = (state: string): 'ok' | 'warn' | 'alarm' | 'plain' =>
  state === 'completed' ? 'ok' : state === 'rejected' ? 'alarm' : state === 'submitted' || state === 'foc_received' ? 'warn' : 'plain';

const follow: Record<PortState, PortState[]> = {
  draft: ['submitted', 'cancelled'],
  submitted: ['foc_received', 'rejected', 'cancelled'],
  foc_received: ['completed', 'rejected', 'cancelled'],
  rejected: ['submitted', 'cancelled'],
  completed: [],
  cancelled: [],
};

/** next are the states that a request may go to: as the API says, else as the states follow by their nature. */
export const next = (r: Pick<PortRequest, 'state' | 'transitions'>): PortState[] => r.transitions ?? follow[r.state] ?? [];

/** steps say what a person does to bring a request into a state. */
export const steps: Record<PortState, string> = {
  draft: 'Back to draft',
  submitted: 'Submit',
  foc_received: 'Enter the FOC date',
  rejected: 'Mark as rejected',
  completed: 'Complete',
  cancelled: 'Cancel the request',
};

export const portTypeWord = (type: string): string => (type === 'port_in' ? 'Port in' : type === 'port_out' ? 'Port out' : type);

/** day writes a date without a time as people read it; it is the same day in every time zone. */
export function day(date: string | null | undefined): string {
  if (!date) return '';
  const [y, m, d] = date.slice(0, 10).split('-').map(Number);
  const t = new Date(Date.UTC(y ?? NaN, (m ?? NaN) - 1, d));
  return Number.isNaN(t.getTime()) ? date : new Intl.DateTimeFormat(undefined, { year: 'numeric', month: 'short', day: 'numeric', timeZone: 'UTC' }).format(t);
}
