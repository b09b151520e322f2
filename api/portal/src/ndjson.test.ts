import { describe, expect, it } from 'vitest';
import { jsonLines } from './ndjson';

const stream = (pieces: Uint8Array[]) =>
  new ReadableStream<Uint8Array>({
    start(c) {
      for (const p of pieces) c.enqueue(p);
      c.close();
    },
  });
const read = async (pieces: Uint8Array[]) => {
  const out: unknown[] = [];
  for await (const line of jsonLines(stream(pieces))) out.push(line);
  return out;
};

describe('jsonLines', () => {
  const bytes = new TextEncoder().encode('{"rows_checked":1}\n\n{"name":"Zoë"}\r\n{"created":2}');
  const want = [{ rows_checked: 1 }, { name: 'Zoë' }, { created: 2 }];

  it('reads lines cut anywhere, within a letter too', async () => {
    for (let at = 0; at <= bytes.length; at++) expect(await read([bytes.slice(0, at), bytes.slice(at)])).toEqual(want);
  });

  it('reads nothing from nothing', async () => expect(await read([])).toEqual([]));

  it('fails on what is not JSON', async () => {
    await expect(read([new TextEncoder().encode('{"a":1}\nBad Gateway')])).rejects.toThrow();
  });
});
