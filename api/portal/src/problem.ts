// What the API says is wrong, put beside the fields of a form.
import { ApiError } from './api';

export interface Said {
  /** fields has what is wrong with each field that the form has. */
  fields: Record<string, string>;
  /** rest is what belongs to no field; empty where the fields say it all. */
  rest: string;
}

/** locate turns body.numbers[2] into the field "numbers" and the entry 3; the longest known name wins. */
export function locate(location: string, known: readonly string[]): { field: string; entry: number | null } | null {
  const path = location.replace(/^(body|query|path)\./, '');
  let field = '';
  for (const k of known) {
    if ((path === k || path.startsWith(`${k}.`) || path.startsWith(`${k}[`)) && k.length > field.length) field = k;
  }
  if (!field) return null;
  const index = /^\[(\d+)\]/.exec(path.slice(field.length));
  return { field, entry: index ? Number(index[1]) + 1 : null };
}

/** sentence puts a name before what the API says of it: "is taken" → "Email is taken". */
export function sentence(name: string, message: string): string {
  const joined = /^(is|are|must|may|can|cannot|has|have|was|were|does|needs|holds|names)\b/.test(message);
  return joined ? `${name} ${message}.` : `${name}: ${message}.`;
}

/** said sorts an error by the fields of a form; labels are the names that the fields have on the screen. */
export function said(error: unknown, labels: Record<string, string>): Said {
  const fields: Record<string, string> = {};
  if (error === null || error === undefined) return { fields, rest: '' };
  if (!(error instanceof ApiError) || error.fields.length === 0) {
    return { fields, rest: capital(error instanceof Error ? error.message : String(error)) };
  }
  const rest: string[] = [];
  for (const { location, message } of error.fields) {
    const at = locate(location, Object.keys(labels));
    if (!at) {
      rest.push(sentence(location.replace(/^(body|query|path)\./, '').replaceAll('_', ' ') || 'The request', message));
      continue;
    }
    const text = sentence(at.entry === null ? labels[at.field]! : `Entry ${at.entry}`, message);
    fields[at.field] = fields[at.field] ? `${fields[at.field]} ${text}` : text;
  }
  return { fields, rest: capital(rest.join(' ')) };
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
