import { type CSSProperties, useMemo, useState } from 'react';
import type { Message } from '../api';
import { offset, utc } from '../format';
import { describe, lanes, tone } from '../ladder';
import { Copy } from './ui';

/** Ladder draws who sent which SIP message to whom; a message opens to its text as it was on the wire. */
export function Ladder({ messages, origin }: { messages: Message[]; origin: string }) {
  const [open, setOpen] = useState<number | null>(null);
  const addresses = useMemo(() => lanes(messages), [messages]);
  const start = Date.parse(origin);
  const n = addresses.length;
  return (
    <div className="ladder" style={{ '--lanes': n } as CSSProperties}>
      <div className="ladder-head" aria-hidden="true">
        <span />
        <div className="ladder-lanes">
          {addresses.map((a) => (
            <span key={a} className="num">
              {a}
            </span>
          ))}
        </div>
      </div>
      <ol>
        {messages.map((m, i) => {
          const from = addresses.indexOf(m.src);
          const to = addresses.indexOf(m.dst);
          const left = Math.min(from, to);
          const span = Math.max(1, Math.abs(to - from));
          const at = (Date.parse(m.at) - start) / 1000;
          return (
            // oxlint-disable-next-line react/no-array-index-key
            <li key={`${m.at} ${i}`} className={`tone-${tone(m)}`}>
              <button type="button" aria-expanded={open === i} onClick={() => setOpen(open === i ? null : i)}>
                <time className="num" dateTime={m.at} title={utc(m.at)}>
                  {offset(at)}.{String(Math.floor(((Math.abs(at) * 1000) % 1000) + 1e-6)).padStart(3, '0')}
                </time>
                <span className="track">
                  <span
                    className={`arrow ${to < from ? 'arrow-left' : 'arrow-right'}`}
                    style={{ '--left': left, '--span': span } as CSSProperties}
                  >
                    <span className="arrow-text">{describe(m)}</span>
                  </span>
                </span>
                <span className="route num">
                  {m.src} → {m.dst}
                </span>
              </button>
              {open === i ? (
                <div className="raw">
                  <div className="raw-head">
                    <span className="muted num">
                      {m.transport ? `${m.transport.toUpperCase()} ` : ''}
                      {m.src} → {m.dst} · {utc(m.at)}
                    </span>
                    <Copy text={m.raw} what="message" />
                  </div>
                  <pre tabIndex={0} aria-label="Message as it was on the wire">{m.raw}</pre>
                </div>
              ) : null}
            </li>
          );
        })}
      </ol>
    </div>
  );
}
