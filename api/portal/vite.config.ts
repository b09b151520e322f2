import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    // Nothing is inlined as a data URL, so that the content security policy can stay at 'self'.
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    sourcemap: false,
  },
  server: {
    // `npm run dev` shows the page of this folder with the data of a running Earshot.
    proxy: Object.fromEntries(
      ['/api', '/ingest', '/signin'].map((path) => [path, process.env.EARSHOT_URL ?? 'http://127.0.0.1:8080']),
    ),
  },
  test: {
    environment: 'node',
    include: ['src/**/*.test.ts'],
  },
});
