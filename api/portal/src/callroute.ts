// The address of a page that shows a call: of the call itself, or of a snapshot of it.
import { useNavigate, useRouterState, useSearch } from '@tanstack/react-router';
import { useCallback } from 'react';
import type { Call } from './api';
import { callStart } from './bands';
import { addressOf, asked } from './evidence';

export interface CallSearch {
  view?: string;
  leg?: string;
  at?: string;
}

export const callSearch = ['view', 'leg', 'at'] as const;

export const useCallSearch = (): CallSearch => useSearch({ strict: false });

/** useCallNavigate changes the address without moving the page. hash is the new one, true the one that there is. */
export function useCallNavigate() {
  const navigate = useNavigate();
  return useCallback(
    (change: CallSearch, hash?: string | true) =>
      void navigate({ to: '.', search: (s: CallSearch) => ({ ...s, ...change }), hash, replace: true, hashScrollIntoView: false, resetScroll: false }),
    [navigate],
  );
}

/** useEvidence is the evidence that the address speaks of, and how to speak of another; -1 is none. */
export function useEvidence(call: Call): [number, (index: number) => void] {
  const { at } = useCallSearch();
  const hash = useRouterState({ select: (s) => s.location.hash });
  const navigate = useCallNavigate();
  const list = call.verdict?.evidence;
  const origin = Date.parse(callStart(call));
  const select = useCallback(
    (index: number) => {
      const place = index < 0 || !list ? { hash: '', at: undefined } : addressOf(list, index, origin);
      navigate({ at: place.at }, place.hash);
    },
    [navigate, list, origin],
  );
  return [asked(list ?? [], origin, hash, at), select];
}
