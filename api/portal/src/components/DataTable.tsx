/* oxlint-disable jsx-a11y/no-interactive-element-to-noninteractive-role, jsx-a11y/control-has-associated-label */
import { type ColumnDef, tableFeatures, useTable } from '@tanstack/react-table';
import type { ReactNode } from 'react';

// Lists arrive sorted and filtered by the API, page by page: sorting what happens to be loaded would mislead.
const features = tableFeatures({});

export interface Column<T> {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
  /** numeric columns align right with figures of equal width. */
  numeric?: boolean;
  /** lead is the cell that names the row when rows are stacked on a narrow screen. */
  lead?: boolean;
}

/**
 * DataTable is a table that becomes a list of cards on a narrow screen. The roles are written out
 * because browsers drop a table's meaning when its display is changed.
 */
export function DataTable<T>({ label, rows, columns, rowKey }: { label: string; rows: T[]; columns: Column<T>[]; rowKey: (row: T) => string }) {
  const defs: ColumnDef<typeof features, T & object>[] = columns.map((c) => ({
    id: c.id,
    header: c.header,
    cell: (context) => c.cell(context.row.original),
  }));
  const table = useTable({ features, data: rows as (T & object)[], columns: defs, getRowId: (row) => rowKey(row) });
  const byId = new Map(columns.map((c) => [c.id, c]));
  return (
    <div className="table-wrap">
      <table role="table" aria-label={label}>
        <thead role="rowgroup">
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id} role="row">
              {group.headers.map((header) => (
                <th key={header.id} role="columnheader" scope="col" className={byId.get(header.column.id)?.numeric ? 'numeric' : undefined}>
                  <table.FlexRender header={header} />
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody role="rowgroup">
          {table.getRowModel().rows.map((row) => (
            <tr key={row.id} role="row">
              {row.getAllCells().map((cell) => {
                const column = byId.get(cell.column.id);
                return (
                  <td
                    key={cell.id}
                    role="cell"
                    data-label={column?.header}
                    className={[column?.numeric ? 'numeric' : '', column?.lead ? 'lead' : ''].filter(Boolean).join(' ') || undefined}
                  >
                    <table.FlexRender cell={cell} />
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** More asks for the next page of a list. */
export function More({ shown, has, loading, onMore }: { shown: number; has: boolean; loading: boolean; onMore: () => void }) {
  return (
    <div className="more">
      <span className="muted">
        {shown.toLocaleString('en')} shown{has ? '' : ', that is all'}
      </span>
      {has ? (
        <button type="button" disabled={loading} onClick={onMore}>
          {loading ? 'Loading…' : 'Show more'}
        </button>
      ) : null}
    </div>
  );
}
