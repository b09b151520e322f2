import { type ReactNode, useEffect, useId, useRef } from 'react';

/** Dialog is a modal window of the browser's own: it keeps the focus inside, closes on Escape and gives the focus back. */
export function Dialog({ heading, onClose, children, busy }: { heading: string; onClose: () => void; children: ReactNode; /** busy keeps it open. */ busy?: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    const it = dialog.current;
    if (it && !it.open) {
      it.showModal();
      it.querySelector<HTMLElement>('form input, form select, form textarea')?.focus();
    }
    return () => {
      it?.close();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className="dialog"
      aria-labelledby={id}
      onCancel={(e) => {
        // React decides whether it is open, not the browser.
        e.preventDefault();
        if (!busy) onClose();
      }}
    >
      <header className="dialog-head">
        <h2 id={id}>{heading}</h2>
        <button type="button" className="copy" aria-label="Close" disabled={busy} onClick={onClose}>
          <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
            <path d="M3.5 3.5l9 9m0-9l-9 9" stroke="currentColor" strokeWidth="1.6" strokeLinecap="round" />
          </svg>
        </button>
      </header>
      {children}
    </dialog>
  );
}
