// The CSV file that users are imported from.

export const importColumns: { name: string; means: string; required?: boolean }[] = [
  { name: 'name', means: 'As it is shown', required: true },
  { name: 'email', means: 'One per user' },
  { name: 'id', means: 'Part of links; made up where empty' },
  { name: 'state', means: 'active, invited or pending; active where empty' },
  { name: 'office', means: 'Id or name of an office; the chosen one where empty' },
  { name: 'departments', means: 'Ids or names, with ; between them' },
  { name: 'contact_centers', means: 'Ids or names, with ; between them' },
  { name: 'numbers', means: 'Available ones of the company or new ones, with ; between them' },
  { name: 'aors', means: 'SIP addresses, with ; between them' },
  { name: 'voicemail_greeting', means: 'In words' },
];

/** template is a file to begin from: the header and one row that shows the form. */
export const template = (): string =>
  `${importColumns.map((c) => c.name).join(',')}\r\nAda Lovelace,ada@example.com,ada,active,,sales;support,,+14155550123,ada@sip.example.com,\r\n`;

const cell = (text: string): string => {
  // A spreadsheet would run what begins like a formula.
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** errorsFile writes what is wrong with the rows of an import as CSV, to be worked through beside the file. */
export const errorsFile = (errors: { line: number; column: string; message: string }[]): string =>
  ['line,column,message', ...errors.map((e) => [String(e.line), cell(e.column), cell(e.message)].join(','))].join('\r\n') + '\r\n';
