import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const root = new URL('../', import.meta.url);

test.each(['earshot.js', 'earshot.script.js'])('%s is under 5 kB', (name) => {
  expect(gzipSync(readFileSync(new URL('dist/' + name, root))).length).toBeLessThan(5000);
});

test('the package holds what its users need and nothing else', () => {
  const packed = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: fileURLToPath(root), stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' })) as { files: { path: string }[] }[];
  expect(packed[0]!.files.map((f) => f.path).sort()).toEqual([
    'LICENSE', 'README.md', 'dist/earshot.d.ts', 'dist/earshot.js', 'dist/earshot.script.js',
    'examples/call.js', 'examples/index.html', 'package.json',
  ]);
  expect(JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))).not.toHaveProperty('dependencies');
}, 20_000);
