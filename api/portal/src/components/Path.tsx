// The way of the audio as a small picture: target, what stands between, contact; each part with its figures.
import type { Band, Call, PathSegment } from '../api';
import { shortName } from '../bands';
import { quantity } from '../format';
import { type Part, partsOf } from '../path';
import { BandBadge, Tag } from './ui';
import { Why } from './Why';

export function PathPicture({ call }: { call: Call }) {
  const parts = partsOf(call);
  if (parts.length === 0) return null;
  const v = call.verdict!;
  const nodes = [parts[0]!.segment.from, ...parts.map((p) => p.segment.to)];
  return (
    <div className="path" role="group" aria-label="The way of the audio">
      {nodes.map((node, i) => (
        // oxlint-disable-next-line react/no-array-index-key
        <div key={i} className="path-step">
          <div className={`path-node ${v.fault_side === node ? 'path-fault' : ''}`}>
            <b>{nodeName(node, parts[Math.max(0, i - 1)]!.segment, call)}</b>
            <small className="muted">{node === 'server' ? (parts[Math.max(0, i - 1)]!.segment.source === 'capture_point' ? 'where Earshot listens' : 'ends and makes media') : node}</small>
          </div>
          {i < parts.length ? <Segment part={parts[i]!} call={call} /> : null}
        </div>
      ))}
    </div>
  );
}

function nodeName(node: string, s: PathSegment, call: Call): string {
  if (node !== 'server') return shortName(node, call);
  return s.source === 'capture_point' ? 'Capture point' : 'Server';
}

function Segment({ part, call }: { part: Part; call: Call }) {
  const { segment: s, paths, fault } = part;
  const confidence = call.verdict?.fault_confidence;
  const rtt = s.rtt_ms;
  return (
    <div className={`path-segment edge-${s.band} ${fault ? 'path-fault' : ''}`}>
      <p className="path-rtt">
        {rtt ? (
          <>
            RTT <Why path={paths.p50}>{quantity(rtt.p50, 'ms')}</Why>
            {rtt.p95 !== rtt.p50 ? (
              <span className="muted">
                {' '}
                p95 <Why path={paths.p95}>{quantity(rtt.p95, 'ms')}</Why>
              </span>
            ) : null}
          </>
        ) : (
          <span className="muted">RTT not measured</span>
        )}
        {s.band !== 'unknown' && !part.deadForth && !part.deadBack ? <BandBadge band={s.band as Band} /> : null}
      </p>
      <Way forth dead={part.deadForth} jitter={s.target_to_contact_jitter_ms} jitterPath={paths.jitterForth} loss={s.target_to_contact_loss_percent} lossPath={paths.lossForth} />
      <Way dead={part.deadBack} jitter={s.contact_to_target_jitter_ms} jitterPath={paths.jitterBack} loss={s.contact_to_target_loss_percent} lossPath={paths.lossBack} />
      {fault ? (
        <p>
          <Tag tone="alarm">
            Fault{confidence ? <>, <Why path="verdict.fault_confidence">{Math.round(confidence * 100)} % sure</Why></> : null}
          </Tag>
        </p>
      ) : null}
    </div>
  );
}

function Way({
  forth, dead, jitter, jitterPath, loss, lossPath,
}: {
  forth?: boolean; dead: boolean; jitter?: number | null; jitterPath: string; loss?: number | null; lossPath: string;
}) {
  const known = jitter !== null && jitter !== undefined;
  const lost = loss !== null && loss !== undefined;
  return (
    <p className={`path-way ${dead ? 'path-dead' : ''}`}>
      <svg viewBox="0 0 46 10" width="46" height="10" aria-hidden="true">
        <path d={forth ? 'M1 5h42M38 1.5 44 5l-6 3.5' : 'M45 5H3M8 1.5 2 5l6 3.5'} fill="none" stroke="currentColor" strokeWidth="1.4" strokeDasharray={dead ? '3 3' : undefined} />
      </svg>
      <span>
        <span className="offscreen">{forth ? 'Towards the contact: ' : 'Towards the target: '}</span>
        {dead ? <b>no audio</b> : null}
        {dead && (lost || known) ? ', else ' : ''}
        {lost ? (
          <>
            loss <Why path={lossPath}>{quantity(loss, '%')}</Why>
          </>
        ) : null}
        {lost && known ? ', ' : ''}
        {known ? (
          <>
            jitter <Why path={jitterPath}>{quantity(jitter, 'ms')}</Why>
          </>
        ) : null}
        {!lost && !known && !dead ? <span className="muted">not measured</span> : null}
      </span>
    </p>
  );
}
