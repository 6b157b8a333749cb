import { defineConfig } from 'vite'

const server = process.env.KEYWEIR_ADMIN ?? 'http://127.0.0.1:8081'

export default defineConfig({
  // The server's own pages of older balancers live at `/keys`, `/stats`, …; the console keeps to a prefix of its own.
  base: '/console/',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    // Inlined assets would be data: URLs, which the page's CSP refuses for all but images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': { target: server, changeOrigin: false } } },
})
