// Whether the API still knows who we are. The cookie itself is out of the page's reach.
import { useSyncExternalStore } from 'react';

let over = false;
const listeners = new Set<() => void>();

export const session = {
  end() {
    over = true;
    for (const listener of listeners) listener();
  },
};

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => void listeners.delete(listener);
};

/** useSignedOut is true once the API has answered 401. */
export const useSignedOut = (): boolean => useSyncExternalStore(subscribe, () => over);
