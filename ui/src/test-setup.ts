/** What unit tests need of a browser, where they run without one. */

Object.assign(globalThis, {
  matchMedia: () => ({ matches: false, addEventListener: () => {} }),
  location: new URL('http://localhost:9090/query'),
  document: { title: 'Query · Pharos' },
  window: { addEventListener: () => {} },
});
