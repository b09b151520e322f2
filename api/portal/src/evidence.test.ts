import { describe, expect, it } from 'vitest';
import type { Call, Evidence } from './api';
import { addressOf, asked, graphOf, placeOf, spansOf, told, versus, viewOf, zoomOf } from './evidence';

const origin = Date.parse('2026-11-02T12:00:00.000Z');
const at = (s: number) => new Date(origin + s * 1000).toISOString();
const piece = (kind: string, more: Partial<Evidence> = {}): Evidence => ({ kind, text: kind, ...more });

describe('a place on the graphs', () => {
  it('is a span, a moment or nowhere', () => {
    expect(placeOf(piece('stopped', { at: at(6), until: at(25) }), origin)).toEqual({ from: 6, to: 25 });
    expect(placeOf(piece('loss', { at: at(6), until: null }), origin)).toEqual({ from: 6, to: 6 });
    expect(placeOf(piece('fault', { at: null }), origin)).toBeNull();
  });
  it('is shown with what is around it, and the whole call where it is most of it', () => {
    expect(zoomOf({ from: 30, to: 40 }, 120)).toEqual({ from: 26, to: 44 });
    expect(zoomOf({ from: 60, to: 60 }, 120)).toEqual({ from: 50, to: 70 });
    expect(zoomOf({ from: 2, to: 12 }, 120)).toEqual({ from: 0, to: 16 });
    expect(zoomOf({ from: 0, to: 118 }, 120)).toBeNull();
    expect(zoomOf({ from: 3, to: 3 }, 8)).toBeNull();
  });
  it('is on the graph that the evidence names', () => {
    expect(graphOf(piece('x', { graph: 'rtt' }))).toBe('delay');
    expect(graphOf(piece('x', { graph: 'level' }))).toBe('audio');
    expect(graphOf(piece('x', {}))).toBeNull();
  });
});

describe('whose graphs show it', () => {
  const has = (views: string[]) => (view: string) => views.includes(view);
  it('is the side that saw it, and the open view where that has it', () => {
    expect(viewOf(piece('x', { side: 'contact', graph: 'level' }), 'target', has(['target', 'contact']))).toBe('contact');
    expect(viewOf(piece('x', { graph: 'rtt' }), 'contact', has(['target', 'contact']))).toBe('contact');
    expect(viewOf(piece('x', { side: 'contact', graph: 'loss' }), 'target', has(['target', 'network']))).toBe('network');
    expect(viewOf(piece('x', { side: 'target', graph: 'level' }), 'both', has(['both', 'target']))).toBe('both');
    expect(viewOf(piece('x', { graph: 'ladder' }), 'target', has([]))).toBe('target');
  });
});

describe('a link to one piece of evidence', () => {
  const list = [piece('fault', { at: null }), piece('stopped', { at: at(12), until: at(20) }), piece('loss', { at: at(7) })];
  it('is read as it was written', () => {
    for (const i of [0, 1, 2]) {
      const { hash, at: when } = addressOf(list, i, origin);
      expect(asked(list, origin, `#${hash}`, when)).toBe(i);
    }
  });
  it('finds the sentence by its time where a later version has it elsewhere', () => expect(asked(list, origin, '#evidence-1', '7.0')).toBe(2));
  it('finds nothing where there is nothing', () => {
    expect(asked(list, origin, '#evidence-9', undefined)).toBe(-1);
    expect(asked(list, origin, '#jitter', undefined)).toBe(-1);
    expect(asked(list, origin, '#evidence-2', '99')).toBe(-1);
  });
});

it('puts a contradiction beside what it contradicts', () => {
  const list = [
    piece('stopped', { direction: 'target_to_contact' }),
    piece('contradiction', { direction: 'target_to_contact', values: { confidence_alone: 0.95 }, graph: 'loss' }),
    piece('loss', { direction: 'contact_to_target' }),
    piece('contradiction', { direction: 'contact_to_target', graph: 'loss', values: { percent: 1, percent_other: 4 } }),
    piece('contradiction', { graph: 'rtt' }),
  ];
  expect(told(list)).toEqual([{ index: 0, against: [1] }, { index: 2, against: [] }, { index: 3, against: [] }, { index: 4, against: [] }]);
  expect(versus(list[3]!)).toEqual([{ name: 'percent', followed: 1, other: 4 }]);
  expect(versus(list[1]!)).toEqual([]);
});

it('shades every time that a direction was dead, and what explains silence', () => {
  const call = {
    verdict: {
      overall: 'bad', final: true,
      one_way_audio: { state: 'confirmed', direction: 'target_to_contact', since: at(5), spans: [
        { direction: 'target_to_contact', since: at(5), until: at(15), confidence: 0.95, healed: true },
        { direction: 'contact_to_target', since: at(30), until: at(36), confidence: 0.7, healed: true },
      ] },
      evidence: [piece('muted', { at: at(40) }), piece('jitter', { at: at(20), until: at(28), direction: 'target_to_contact', values: { choppy_share: 0.3 } }), piece('jitter', { at: at(0), until: at(60), values: { choppy_share: 0 } })],
    },
  } as unknown as Call;
  expect(spansOf(call, [{ from: at(50), to: at(55) }], origin, 60)).toEqual([
    { kind: 'hold', from: 50, to: 55, label: 'on hold' },
    { kind: 'one-way', from: 5, to: 15, label: 'target not heard' },
    { kind: 'one-way', from: 30, to: 36, label: 'contact not heard?' },
    { kind: 'mute', from: 40, to: 60, label: 'muted', graphs: ['audio'] },
    { kind: 'choppy', from: 20, to: 28, label: 'choppy at times for the contact', graphs: ['jitter'], side: 'contact' },
  ]);
});
