import { expect, test } from 'vitest';
import { layOut } from './layout';
import { ALL, type Chosen } from './model';
import { parseHtml } from './panels/html';
import { blocksOf } from './panels/markdown';
import { piecesOf } from './panels/pieces';
import { readDashboard } from './read/dashboard';

const chosen = (values: string[]): Chosen => ({
  variable: { name: 'v', label: 'v', kind: 'custom', isHidden: false, isMulti: true, hasAll: true, allValue: '', query: '', regex: '', sort: 0, initial: [], options: [] },
  values,
  options: ['a', 'b', 'c'].map((text) => ({ text, value: text })),
  isTruncated: false,
});

const laidOut = (panels: unknown[], values: string[]) => layOut(readDashboard({ panels }).sections, { variables: [chosen(values)], fixed: {}, repeated: {} });

test('repeated panels fill the width and push down what is below', () => {
  const [section] = laidOut([{ id: 1, repeat: 'v', maxPerRow: 2, gridPos: { x: 0, y: 0, w: 6, h: 4 } }, { id: 2, gridPos: { x: 0, y: 4, w: 24, h: 3 } }], [ALL]);
  expect(section?.panels.map(({ place: { x, y, w }, repeated }) => [x, y, w, repeated.v?.value])).toEqual([
    [0, 0, 12, 'a'],
    [12, 0, 12, 'b'],
    [0, 4, 12, 'c'],
    [0, 8, 24, undefined],
  ]);
});

test('panels that are repeated vertically lie below each other', () => {
  const [section] = laidOut([{ id: 1, repeat: 'v', repeatDirection: 'v', gridPos: { x: 3, y: 5, w: 6, h: 4 } }], ['a', 'c']);
  expect(section?.panels.map(({ place: { x, y, w } }) => [x, y, w])).toEqual([[3, 0, 6], [3, 4, 6]]);
});

test('rows are repeated with all their panels', () => {
  const sections = laidOut([{ type: 'row', title: 'R', repeat: 'v', gridPos: { y: 0 } }, { id: 1, gridPos: { y: 1 } }], ['b', 'c']);
  expect(sections.map(({ repeated, panels }) => [repeated.v?.value, panels[0]?.repeated.v?.value])).toEqual([['b', 'b'], ['c', 'c']]);
});

test('Markdown is split into blocks', () => {
  const kinds = blocksOf('# Title\ntext\nmore\n\n- one\n- two\n\n```\ncode\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\n---\n<div>html</div>').map(({ kind }) => kind);
  expect(kinds).toEqual(['heading', 'paragraph', 'list', 'code', 'table', 'quote', 'rule', 'html']);
});

test('HTML is read without its attributes and scripts', () => {
  const nodes = parseHtml('<!-- no --><p class="x">a &amp; b<br><a href="https://x/?a=1&amp;b=2" onclick="harm()">link</a><script>if (1 < 2) harm()</script><img src=x onerror=harm()></p>1 < 2');
  expect(nodes).toEqual([
    { name: 'p', href: '', children: ['a & b', { name: 'br', href: '', children: [] }, { name: 'a', href: 'https://x/?a=1&b=2', children: ['link'] }, { name: 'img', href: '', children: [] }] },
    '1 ',
    '<',
    ' 2',
  ]);
});

test('equal states that follow each other are one piece', () => {
  expect(piecesOf(Float64Array.of(1, 1, 0, NaN, 0), true)).toEqual([{ from: 0, to: 2, value: 1 }, { from: 2, to: 3, value: 0 }, { from: 4, to: 5, value: 0 }]);
});
