// What a verdict rests on, in the order in which an engineer would tell it; each piece with its place on the graphs.
import { useState } from 'react';
import type { Call, Evidence } from '../api';
import { callStart, shortName } from '../bands';
import { addressOf, placeOf, told, versus } from '../evidence';
import { quantity, second, title } from '../format';
import { Copy, Empty } from './ui';
import { Why } from './Why';

export function EvidenceList({ call, selected, onSelect }: { call: Call; selected: number; onSelect: (index: number) => void }) {
  const list = call.verdict?.evidence ?? [];
  if (list.length === 0) return <Empty>Nothing was observed that speaks for or against this call.</Empty>;
  return (
    <ol className="evidence">
      {told(list).map(({ index, against }) => (
        <li key={index} id={`evidence-${index + 1}`} className={against.length > 0 ? 'disputed' : undefined} data-kind={list[index]!.kind}>
          <Piece call={call} index={index} selected={selected === index} onSelect={onSelect} />
          {against.map((other) => (
            <div key={other} id={`evidence-${other + 1}`} className="against" data-kind="contradiction">
              <Piece call={call} index={other} selected={selected === other} onSelect={onSelect} />
            </div>
          ))}
        </li>
      ))}
    </ol>
  );
}

function Piece({ call, index, selected, onSelect }: { call: Call; index: number; selected: boolean; onSelect: (index: number) => void }) {
  const list = call.verdict!.evidence!;
  const e = list[index]!;
  const [figures, setFigures] = useState(false);
  const count = Object.keys(e.values ?? {}).length;
  const origin = Date.parse(callStart(call));
  const place = placeOf(e, origin);
  const whole = place !== null && place.from < 1 && call.ended_at && place.to > (Date.parse(call.ended_at) - origin) / 1000 - 6;
  return (
    <div className={`piece ${selected ? 'piece-selected' : ''}`}>
      {place ? (
        <button type="button" className="when num" aria-pressed={selected} aria-label={`Show on the graphs, ${spoken(place.from, place.to, !!whole)}: ${e.text}`} onClick={() => onSelect(selected ? -1 : index)}>
          {whole ? 'whole call' : place.to > place.from ? `${second(place.from)}–${second(place.to)}` : second(place.from)}
        </button>
      ) : (
        <span className="when muted">verdict</span>
      )}
      <div className="said">
        <p>
          {e.text}
          {e.side && e.kind !== 'fault' ? <span className="muted"> Seen by {shortName(e.side, call)}.</span> : null}
        </p>
        {versus(e).map(({ name, followed, other }) => (
          <dl key={name} className="versus">
            <div>
              <dt>{e.graph === 'rtt' ? 'one witness' : 'the verdict follows'}</dt>
              <dd>
                <Why path={`verdict.evidence[${index}].values.${name}`}>{quantity(followed, unit(name))}</Why>
              </dd>
            </div>
            <div>
              <dt>against it</dt>
              <dd>
                <Why path={`verdict.evidence[${index}].values.${name}_other`}>{quantity(other, unit(name))}</Why>
              </dd>
            </div>
          </dl>
        ))}
        {selected ? (
          <p className="piece-tools">
            <span className="muted">Link to this evidence</span>
            <Copy text={link(list, index, origin)} what="link to this evidence" />
          </p>
        ) : null}
        {figures ? <Values e={e} index={index} /> : null}
      </div>
      {count > 0 ? (
        <button type="button" className="quiet figures-button" aria-expanded={figures} aria-label={`${count} figures of: ${e.text}`} onClick={() => setFigures(!figures)}>
          {count} {count === 1 ? 'figure' : 'figures'}
        </button>
      ) : null}
    </div>
  );
}

const spoken = (from: number, to: number, whole: boolean) => (whole ? 'whole call' : to > from ? `${second(from)} to ${second(to)}` : second(from));

function link(list: Evidence[], index: number, origin: number): string {
  const { hash, at } = addressOf(list, index, origin);
  const url = new URL(location.href);
  url.hash = hash;
  if (at) url.searchParams.set('at', at);
  else url.searchParams.delete('at');
  return url.href;
}

/** Values are the figures that a sentence is made of, each with its origin. */
function Values({ e, index }: { e: Evidence; index: number }) {
  return (
    <dl className="figures">
      {Object.entries(e.values ?? {}).map(([name, value]) => (
        <div key={name}>
          <dt>{title(name.replace(/_(ms|s|percent)$/, ''))}</dt>
          <dd className="num">
            <Why path={`verdict.evidence[${index}].values.${name}`}>{quantity(value, unit(name))}</Why>
          </dd>
        </div>
      ))}
    </dl>
  );
}

const unit = (name: string) => (/_ms\b|_ms_/.test(name) ? 'ms' : /percent/.test(name) ? '%' : name.endsWith('_s') ? 's' : '');
