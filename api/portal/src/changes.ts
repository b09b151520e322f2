// What of a record was changed in a form: only that is sent, so that nobody's newer change is undone.

const same = (a: unknown, b: unknown): boolean =>
  Array.isArray(a) && Array.isArray(b) ? a.length === b.length && [...a].sort().every((x, i) => x === [...b].sort()[i]) : a === b;

/** changes keeps the members of after that differ from before; the order of a list does not count. */
export function changes<V extends object>(before: V, after: V): Partial<V> {
  const out: Partial<V> = {};
  for (const key of Object.keys(after) as (keyof V)[]) if (!same(before[key], after[key])) out[key] = after[key];
  return out;
}
