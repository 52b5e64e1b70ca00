/** The Markdown that people write into dashboards: headings, lists, tables, code, emphasis and links. */
import type { ComponentChildren } from 'preact';
import { Html, SafeLink } from './text';

export type Block =
  | { kind: 'heading'; level: number; text: string }
  | { kind: 'list'; isOrdered: boolean; items: string[] }
  | { kind: 'code'; text: string }
  | { kind: 'quote'; text: string }
  | { kind: 'table'; rows: string[][] }
  | { kind: 'rule' }
  | { kind: 'html'; text: string }
  | { kind: 'paragraph'; text: string };

const LIST = /^\s*(?:[-*+]|(\d+)[.)])\s+(.*)$/;

/** Splits Markdown into blocks. */
export function blocksOf(source: string): Block[] {
  const lines = source.replaceAll('\r', '').split('\n');
  const blocks: Block[] = [];
  const takeWhile = (start: number, holds: (line: string) => boolean): string[] => {
    let end = start;
    while (end < lines.length && holds(lines[end] ?? '')) end++;
    return lines.slice(start, end);
  };
  for (let i = 0; i < lines.length; ) {
    const line = lines[i] ?? '';
    const heading = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    const isRow = (line: string) => line.includes('|') && line.trim() !== '';
    if (line.trim() === '') {
      i++;
    } else if (line.trimStart().startsWith('```')) {
      const inside = takeWhile(i + 1, (line) => !line.trimStart().startsWith('```'));
      blocks.push({ kind: 'code', text: inside.join('\n') });
      i += inside.length + 2;
    } else if (heading) {
      blocks.push({ kind: 'heading', level: heading[1]?.length ?? 1, text: heading[2] ?? '' });
      i++;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      blocks.push({ kind: 'rule' });
      i++;
    } else if (LIST.test(line)) {
      const items = takeWhile(i, (line) => LIST.test(line) || /^\s{2,}\S/.test(line));
      blocks.push({ kind: 'list', isOrdered: LIST.exec(line)?.[1] !== undefined, items: items.map((item) => LIST.exec(item)?.[2] ?? item.trim()) });
      i += items.length;
    } else if (line.startsWith('>')) {
      const quoted = takeWhile(i, (line) => line.startsWith('>'));
      blocks.push({ kind: 'quote', text: quoted.map((line) => line.replace(/^>\s?/, '')).join('\n') });
      i += quoted.length;
    } else if (isRow(line) && /^[\s|:-]+$/.test(lines[i + 1] ?? '') && (lines[i + 1] ?? '').includes('-')) {
      const rows = takeWhile(i, isRow);
      blocks.push({ kind: 'table', rows: rows.filter((_, row) => row !== 1).map((row) => row.replace(/^\s*\||\|\s*$/g, '').split('|').map((cell) => cell.trim())) });
      i += rows.length;
    } else {
      const isText = (line: string) => line.trim() !== '' && !LIST.test(line) && !/^\s{0,3}#{1,6}\s/.test(line) && !line.startsWith('```');
      const text = takeWhile(i, isText);
      blocks.push({ kind: /^\s*<\w/.test(line) ? 'html' : 'paragraph', text: text.join('\n') });
      i += Math.max(1, text.length);
    }
  }
  return blocks;
}

export function Markdown({ source }: { source: string }) {
  return <>{blocksOf(source).map((block, i) => <BlockView key={i} block={block} />)}</>;
}

function BlockView({ block }: { block: Block }) {
  switch (block.kind) {
    case 'heading': return <p class={`dash-heading h${block.level}`}><Inline text={block.text} /></p>;
    case 'code': return <pre>{block.text}</pre>;
    case 'quote': return <blockquote><Markdown source={block.text} /></blockquote>;
    case 'rule': return <hr />;
    case 'html': return <Html source={block.text} />;
    case 'paragraph': return <p><Inline text={block.text} /></p>;
    case 'list': {
      const items = block.items.map((item, i) => <li key={i}><Inline text={item} /></li>);
      return block.isOrdered ? <ol>{items}</ol> : <ul>{items}</ul>;
    }
    case 'table': {
      const [head = [], ...rows] = block.rows;
      return (
        <table>
          <thead><tr>{head.map((cell, i) => <th key={i}><Inline text={cell} /></th>)}</tr></thead>
          <tbody>{rows.map((row, i) => <tr key={i}>{row.map((cell, j) => <td key={j}><Inline text={cell} /></td>)}</tr>)}</tbody>
        </table>
      );
    }
  }
}

const INLINE = /`([^`]+)`|\*\*(.+?)\*\*|__(.+?)__|\*([^*\s][^*]*)\*|!?\[([^\]]*)\]\(([^)\s]*)[^)]*\)|<?(https?:\/\/[^\s<>)]+)>?|<[^>]*>/g;

function Inline({ text }: { text: string }) {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    const [, code, bold, strong, italic, label, target, address] = match;
    const key = match.index;
    if (code !== undefined) parts.push(<code key={key}>{code}</code>);
    else if (bold !== undefined || strong !== undefined) parts.push(<strong key={key}><Inline text={bold ?? strong ?? ''} /></strong>);
    else if (italic !== undefined) parts.push(<em key={key}>{italic}</em>);
    else if (target !== undefined) parts.push(match[0].startsWith('!') ? label : <SafeLink key={key} to={target}><Inline text={label ?? ''} /></SafeLink>);
    else if (address !== undefined) parts.push(<SafeLink key={key} to={address}>{address}</SafeLink>);
    // Tags among text are left out; their text stays.
  }
  parts.push(text.slice(end));
  return <>{parts}</>;
}
