import { type InfiniteData, useInfiniteQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import type { Page } from '../api';
import { type Column, DataTable, More } from './DataTable';
import { Empty, Failure, Loading } from './ui';

const pageSize = 50;

/** List shows a list of the API page by page, with its loading, empty and error states. */
export function List<T>({
  what,
  queryKey,
  load,
  columns,
  rowKey,
  empty,
  refreshMs,
}: {
  what: string;
  queryKey: unknown[];
  load: (cursor: { limit: number; cursor?: string }, signal: AbortSignal) => Promise<Page<T>>;
  columns: Column<T>[];
  rowKey: (row: T) => string;
  empty: ReactNode;
  refreshMs?: number;
}) {
  const list = useInfiniteQuery<Page<T>, Error, InfiniteData<Page<T>>, unknown[], string | undefined>({
    queryKey,
    queryFn: ({ pageParam, signal }) => load({ limit: pageSize, cursor: pageParam }, signal),
    initialPageParam: undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: (before) => before,
    // Someone who reads on page 3 does not want the list to move.
    refetchInterval: (q) => (refreshMs && (q.state.data?.pages.length ?? 0) <= 1 ? refreshMs : false),
  });
  if (list.isPending) return <Loading what={what} />;
  if (list.isError && !list.data) return <Failure error={list.error} what={what} retry={() => void list.refetch()} />;
  const rows = list.data?.pages.flatMap((p) => p.items ?? []) ?? [];
  if (rows.length === 0) return <Empty>{empty}</Empty>;
  return (
    <div className={list.isPlaceholderData ? 'stale' : undefined} aria-busy={list.isPlaceholderData}>
      <DataTable label={what} rows={rows} columns={columns} rowKey={rowKey} />
      <More shown={rows.length} has={list.hasNextPage} loading={list.isFetchingNextPage} onMore={() => void list.fetchNextPage()} />
    </div>
  );
}
