import { expect, test } from 'vitest';
import { readLines } from './search';

test('lines of a search are read, with warnings and whether there are more', () => {
  const text = '{"results":[{"name":"a"},{"value":"b"}],"warnings":["w"]}\n{"results":[{"name":"c"}]}\n{"status":"success","has_more":true}\n';
  expect(readLines(text)).toEqual({ texts: ['a', 'b', 'c'], hasMore: true, warnings: ['w'] });
});

test('a search that fails on its way is a failure', () => {
  expect(() => readLines('{"results":[]}\n{"status":"error","errorType":"timeout","error":"too slow"}\n')).toThrow('too slow');
});
