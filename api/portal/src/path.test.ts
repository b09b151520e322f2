import { describe, expect, it } from 'vitest';
import type { Call, PathSegment, Verdict } from './api';
import { partsOf } from './path';

const segment = (from: string, to: string, more: Partial<PathSegment> = {}): PathSegment => ({ from, to, band: 'good', source: 'capture_point', ...more });
const call = (verdict: Partial<Verdict>): Call => ({ id: 'c', company: 'd', connected_at: '2026-11-02T12:00:00.000Z', verdict: { overall: 'bad', final: true, ...verdict } }) as Call;
const faults = (v: Partial<Verdict>) => partsOf(call(v)).map((p) => p.fault);

describe('the part at fault', () => {
  const two = [segment('target', 'server'), segment('server', 'contact', { band: 'bad' })];
  it('is the side of the capture point that is named', () => {
    expect(faults({ fault_side: 'target', segments: two })).toEqual([true, false]);
    expect(faults({ fault_side: 'contact', segments: two })).toEqual([false, true]);
  });
  it('is the leg of a server where that is bad, else the party alone', () => {
    const legs = [segment('target', 'server', { source: 'server' }), segment('server', 'contact', { source: 'server', band: 'unacceptable' })];
    expect(faults({ fault_side: 'contact', segments: legs })).toEqual([false, true]);
    expect(faults({ fault_side: 'target', segments: legs })).toEqual([false, false]);
  });
  it('is the worst part of the network, where one is worse', () => {
    expect(faults({ fault_side: 'network', segments: two })).toEqual([false, true]);
    expect(faults({ fault_side: 'network', segments: [segment('target', 'server'), segment('server', 'contact')] })).toEqual([false, false]);
    expect(faults({ fault_side: 'network', segments: [segment('target', 'server'), segment('server', 'contact', { band: 'acceptable' })] })).toEqual([false, false]);
  });
  it('is none where it is not known, or a server', () => {
    expect(faults({ fault_side: 'unknown', segments: two })).toEqual([false, false]);
    expect(faults({ fault_side: 'server', segments: two })).toEqual([false, false]);
  });
  it('is the whole way where that was not split', () => expect(faults({ fault_side: 'network', segments: [] })).toEqual([true]));
});

it('says where each figure of an unsplit way stands', () => {
  const [part] = partsOf(call({ segments: [], loss: { band: 'bad', target_to_contact_percent: 4 }, one_way_audio: { state: 'confirmed', direction: 'contact_to_target' } }));
  expect(part!.segment.target_to_contact_loss_percent).toBe(4);
  expect(part!.paths.lossForth).toBe('verdict.loss.target_to_contact_percent');
  expect([part!.deadForth, part!.deadBack]).toEqual([false, true]);
});

it('has no way without an answer', () => expect(partsOf({ ...call({}), connected_at: null })).toEqual([]));
