import { expect, it } from 'vitest';
import { errorsFile, importColumns, template } from './csv';

it('a template has a value or nothing for every column', () => {
  const [header, row] = template().trimEnd().split('\r\n');
  expect(header!.split(',')).toEqual(importColumns.map((c) => c.name));
  expect(row!.split(',')).toHaveLength(importColumns.length);
});

it('errors are CSV that no spreadsheet runs', () => {
  expect(errorsFile([{ line: 7, column: 'email', message: 'is taken, by "Ada"' }, { line: 9, column: '=HYPERLINK(1)', message: 'is not a column' }])).toBe(
    'line,column,message\r\n7,email,"is taken, by ""Ada"""\r\n9,\'=HYPERLINK(1),is not a column\r\n',
  );
});
