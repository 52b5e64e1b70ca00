import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';

/** The server that `npm run dev` asks; set PHAROS_URL for another one. */
const server = loadEnv('', '.', 'PHAROS_').PHAROS_URL ?? 'http://127.0.0.1:9090';

// Every page is one level below the prefix, so relative addresses work below any prefix without the server rewriting files.
export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    // The Content-Security-Policy allows no data: addresses for scripts, styles and fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  test: { setupFiles: ['src/test-setup.ts'] },
  server: { proxy: { '/api': server, '/-': server, '/metrics': server } },
});
