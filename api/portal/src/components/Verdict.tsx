// The verdict of a call: its figures, each with its origin, the way of the audio, and what the verdict rests on.
import type { ReactNode } from 'react';
import type { Band, Call, Distribution } from '../api';
import { callStart, oneWayBand, shortName } from '../bands';
import { quantity, second, secondsBetween, title, words } from '../format';
import { EvidenceList } from './Evidence';
import { PathPicture } from './Path';
import { BandBadge, Empty, Moment, Section, Tag } from './ui';
import { Why } from './Why';

export function VerdictPanel({ call, selected, onSelect }: { call: Call; selected: number; onSelect: (index: number) => void }) {
  const v = call.verdict;
  if (!v) {
    return (
      <Section heading="Verdict" className="verdict">
        <Empty>{call.state === 'live' ? 'The call has just begun.' : 'No verdict was made.'}</Empty>
      </Section>
    );
  }
  const one = v.one_way_audio;
  const dead = one?.state === 'confirmed' || one?.state === 'suspected';
  return (
    <Section heading="Verdict" className="verdict" aside={<Version call={call} />}>
      <p className={`sentence ${dead ? 'sentence-alarm' : ''}`}>{one?.text}</p>
      <Dimensions call={call} />
      <PathPicture call={call} />
      {v.fault_side && v.fault_side !== 'unknown' ? (
        <p className="fault">
          Fault lies with: <b>{v.fault_side === 'target' || v.fault_side === 'contact' ? `the ${v.fault_side}, ${shortName(v.fault_side, call)}` : `the ${v.fault_side}`}</b>
          {v.fault_confidence ? (
            <>
              {' '}
              (<Why path="verdict.fault_confidence">{Math.round(v.fault_confidence * 100)} % sure</Why>)
            </>
          ) : null}
        </p>
      ) : null}
      <h3>Evidence</h3>
      <EvidenceList call={call} selected={selected} onSelect={onSelect} />
      <p className="sources muted">
        {v.sources?.length ? (
          <>
            Based on{' '}
            {v.sources.map((s, i) => (
              // One witness may stand here once for each part of the way.
              // oxlint-disable-next-line react/no-array-index-key
              <span key={i}>
                {i > 0 ? ', ' : ''}
                {words(s.kind)}
                {s.side ? ` (${s.side})` : ''}
                {s.samples ? (
                  <>
                    {' × '}
                    <Why path={`verdict.sources[${i}].samples`}>{s.samples}</Why>
                  </>
                ) : null}
              </span>
            ))}
            .
          </>
        ) : (
          'No source reported on the media.'
        )}
      </p>
    </Section>
  );
}

/** Version says which verdict this is and how it came to be; it changes while one looks. */
function Version({ call }: { call: Call }) {
  const v = call.verdict!;
  const late = v.evidence?.find((e) => e.kind === 'late_reports');
  return (
    <span className="flags version" role="status">
      {v.final ? <Tag tone="ok">Final</Tag> : <Tag tone="live">Provisional</Tag>}
      {late ? <Tag tone="warn">Made anew: late reports</Tag> : null}
      <span className="muted">
        version <Why path="verdict.version">{v.version ?? 1}</Why>
        {v.rules ? ` · rules ${v.rules}` : ''}
        {v.computed_at ? (
          <>
            {' · computed '}
            <Moment at={v.computed_at} />
          </>
        ) : null}
      </span>
    </span>
  );
}

function Dimensions({ call }: { call: Call }) {
  const v = call.verdict!;
  const one = v.one_way_audio;
  const dead = one?.state === 'confirmed' || one?.state === 'suspected';
  const start = callStart(call);
  const since = secondsBetween(start, one?.since);
  const until = secondsBetween(start, one?.until);
  const share = Object.entries(v.delay?.share ?? {}).filter(([, s]) => (s ?? 0) > 0);
  const j = v.jitter;
  const l = v.loss;
  const m = v.mos;
  return (
    <div className="dimensions">
      <Dimension heading="Delay" band={v.delay?.band ?? 'unknown'} path="verdict.delay.rtt_ms.p95" value={v.delay?.rtt_ms?.p95} unit="ms" note="RTT p95">
        {v.delay?.rtt_ms ? (
          <Details>
            <Spread path="verdict.delay.rtt_ms" of={v.delay.rtt_ms} />
            {share.length > 1
              ? share.map(([b, s]) => (
                  <span key={b}>
                    <Why path={`verdict.delay.share.${b}`}>{quantity((s ?? 0) * 100, '%')}</Why> {b}
                  </span>
                ))
              : null}
          </Details>
        ) : (
          'no round trip was measured'
        )}
      </Dimension>
      <Dimension heading="Jitter" band={j?.band ?? 'unknown'} path="verdict.jitter.jitter_ms.p95" value={j?.jitter_ms?.p95} unit="ms" note="network p95">
        {j?.jitter_ms || j?.concealment_percent != null ? (
          <Details>
            {j.jitter_ms ? <Spread path="verdict.jitter.jitter_ms" of={j.jitter_ms} /> : null}
            {j.concealment_percent != null ? (
              <span>
                <Why path="verdict.jitter.concealment_percent">{quantity(j.concealment_percent, '%')}</Why> concealed
              </span>
            ) : null}
            {j.buffer_over_preferred_ratio != null ? (
              <span>
                buffer <Why path="verdict.jitter.buffer_over_preferred_ratio">{quantity(j.buffer_over_preferred_ratio)} ×</Why> preferred
                {j.buffer_ms != null && j.buffer_preferred_ms != null ? (
                  <>
                    {' '}
                    (<Why path="verdict.jitter.buffer_ms">{quantity(j.buffer_ms)}</Why> of <Why path="verdict.jitter.buffer_preferred_ms">{quantity(j.buffer_preferred_ms, 'ms')}</Why>)
                  </>
                ) : null}
              </span>
            ) : null}
          </Details>
        ) : (
          'no jitter was measured'
        )}
      </Dimension>
      <Dimension heading="Loss" band={l?.band ?? 'unknown'} path="verdict.loss.percent" value={l?.percent} unit="%" note="worse direction">
        {l?.percent != null ? (
          <Details>
            {l.target_to_contact_percent != null ? (
              <span>
                to contact <Why path="verdict.loss.target_to_contact_percent">{quantity(l.target_to_contact_percent, '%')}</Why>
              </span>
            ) : null}
            {l.contact_to_target_percent != null ? (
              <span>
                to target <Why path="verdict.loss.contact_to_target_percent">{quantity(l.contact_to_target_percent, '%')}</Why>
              </span>
            ) : null}
            {l.burst_percent ? (
              <span>
                worst interval <Why path="verdict.loss.burst_percent">{quantity(l.burst_percent, '%')}</Why>
              </span>
            ) : null}
            {l.burst_ratio != null ? (
              <span>
                burst ratio <Why path="verdict.loss.burst_ratio">{quantity(l.burst_ratio)}</Why>
              </span>
            ) : null}
          </Details>
        ) : (
          'no loss was measured'
        )}
      </Dimension>
      <section className={`dimension edge-${oneWayBand(one)}`}>
        <div className="dimension-head">
          <h3>One-way</h3>
          <BandBadge band={oneWayBand(one)}>{one?.state === 'none' ? 'None' : title(one?.state ?? 'unknown')}</BandBadge>
        </div>
        <p>
          <b>
            {dead && since !== null ? <Why path="verdict.one_way_audio.since">{second(Math.max(0, since))}</Why> : one?.state === 'none' ? 'none' : '–'}
            {dead && until !== null ? (
              <>
                –<Why path="verdict.one_way_audio.until">{second(until)}</Why>
              </>
            ) : null}
          </b>
        </p>
        <p className="muted small-text">
          <Details>
            {dead ? <span>{one.direction === 'both' ? 'both ways' : one.direction === 'contact_to_target' ? 'contact → target' : 'target → contact'}</span> : null}
            {one?.confidence ? (
              <span>
                <Why path="verdict.one_way_audio.confidence">{Math.round(one.confidence * 100)} %</Why> sure
              </span>
            ) : null}
            {one?.state === 'none' ? <span>both directions carried audio</span> : null}
            {one?.state === 'unknown' || !one ? <span>not observed long enough</span> : null}
          </Details>
        </p>
      </section>
      <Dimension heading="MOS" path="verdict.mos.avg" value={m?.avg} unit="" note={m ? 'of 4.5' : ''}>
        {m ? (
          <Details>
            <span>
              lowest <Why path="verdict.mos.min">{quantity(m.min)}</Why>
            </span>
            <span>
              {m.model}
              {m.codec ? `, ${m.codec}` : ''}
              {m.estimated ? ', estimated' : ''}
            </span>
            {m.inputs?.r !== undefined ? (
              <span>
                R <Why path="verdict.mos.inputs.r">{quantity(m.inputs.r)}</Why>
              </span>
            ) : null}
          </Details>
        ) : (
          'not scored'
        )}
      </Dimension>
    </div>
  );
}

/** Details are short facts, a dot between them. */
function Details({ children }: { children: ReactNode }) {
  return <span className="details">{children}</span>;
}

function Spread({ path, of }: { path: string; of: Distribution }) {
  return (
    <>
      <span>
        median <Why path={`${path}.p50`}>{quantity(of.p50)}</Why>
      </span>
      <span>
        highest <Why path={`${path}.max`}>{quantity(of.max)}</Why>
      </span>
    </>
  );
}

function Dimension({
  heading, band, path, value, unit, note, children,
}: {
  heading: string; band?: Band; path: string; value: number | null | undefined; unit: string; note: string; children: ReactNode;
}) {
  return (
    <section className={`dimension edge-${band ?? 'unknown'}`}>
      <div className="dimension-head">
        <h3>{heading}</h3>
        {band ? <BandBadge band={band} /> : null}
      </div>
      <p>
        <b>{value === null || value === undefined ? '–' : <Why path={path}>{quantity(value, unit)}</Why>}</b> <span className="muted">{note}</span>
      </p>
      <p className="muted small-text">{children}</p>
    </section>
  );
}
