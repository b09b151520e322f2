import { defineConfig } from 'vitest/config';

// Two files from one source: a module, and with --mode script one for a <script> without modules.
export default defineConfig(({ mode }) => {
  const script = mode === 'script';
  return {
    build: {
      target: 'es2020',
      outDir: 'dist',
      emptyOutDir: !script,
      copyPublicDir: false,
      lib: script
        ? { entry: 'src/script.ts', formats: ['iife'], name: 'earshotScript', fileName: () => 'earshot.script.js' }
        : { entry: 'src/earshot.ts', formats: ['es'], fileName: () => 'earshot.js' },
      minify: true,
      sourcemap: false,
      reportCompressedSize: true,
    },
    test: { environment: 'node', include: ['test/**/*.test.ts'] },
  };
});
