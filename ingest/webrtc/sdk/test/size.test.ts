import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

test.each(['earshot.js', 'earshot.script.js'])('%s is under 5 kB', (name) => {
  expect(gzipSync(readFileSync(new URL('../dist/' + name, import.meta.url))).length).toBeLessThan(5000);
});
