// Loading a call's samples, which may fill many pages and grow while the call runs.
import type { Page, Sample } from './api';

export interface Loaded {
  pages: { cursor: string | undefined; items: Sample[]; next: string | null }[];
  /** truncated: the call has more samples than a page of graphs can hold. */
  truncated: boolean;
}

const limit = 1000;
const maxPages = 60;

/**
 * loadSamples reads on from the last page that it has: what was complete is not asked for again. The last page is, because
 * it grows. With nothing before, it reads all.
 */
export async function loadSamples(
  load: (p: { limit: number; cursor?: string }) => Promise<Page<Sample>>,
  before: Loaded | undefined,
): Promise<Loaded> {
  const pages = before ? before.pages.slice(0, -1) : [];
  let cursor = before?.pages[before.pages.length - 1]?.cursor;
  for (;;) {
    const page = await load({ limit, cursor });
    pages.push({ cursor, items: page.items ?? [], next: page.next_cursor });
    if (!page.next_cursor) return { pages, truncated: false };
    if (pages.length >= maxPages) return { pages, truncated: true };
    cursor = page.next_cursor;
  }
}
