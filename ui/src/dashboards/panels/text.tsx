/** Text panels: Markdown or HTML, of which only harmless elements become elements. */
import type { ComponentChildren } from 'preact';
import { Fragment, h } from 'preact';
import { interpolate } from '../data/interpolate';
import { text } from '../read/json';
import { type HtmlNode, parseHtml } from './html';
import { Markdown } from './markdown';
import type { PictureProps } from './types';

const MAX_LENGTH = 100_000;

export function TextPanel({ panel, scope }: Pick<PictureProps, 'panel' | 'scope'>) {
  const content = interpolate(text(panel.options.content), scope, 'text').slice(0, MAX_LENGTH);
  const mode = text(panel.options.mode, 'markdown');
  if (mode === 'code') return <pre class="dash-text">{content}</pre>;
  return <div class="dash-text">{mode === 'html' ? <Html source={content} /> : <Markdown source={content} />}</div>;
}

const ELEMENTS = new Set(['b', 'blockquote', 'br', 'code', 'dd', 'div', 'dl', 'dt', 'em', 'figure', 'hr', 'i', 'li', 'mark', 'ol', 'p', 'pre', 's', 'small', 'span', 'strong', 'sub', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'u', 'ul']);

/** HTML of which harmless elements become ours, and of others what is inside of them. */
export function Html({ source }: { source: string }) {
  return <>{parseHtml(source).map(viewOf)}</>;
}

function viewOf(node: HtmlNode, key: number): ComponentChildren {
  if (typeof node === 'string') return node;
  const { name, href, children } = node;
  const inner = children.map(viewOf);
  // Headings of a panel are below those of the page.
  if (/^h[1-6]$/.test(name)) return h('p', { key, class: `dash-heading ${name}` }, inner);
  if (name === 'a') return <SafeLink key={key} to={href}>{inner}</SafeLink>;
  if (name === 'br' || name === 'hr') return h(name, { key });
  return ELEMENTS.has(name) ? h(name, { key }, inner) : <Fragment key={key}>{inner}</Fragment>;
}

/** A link to a page of the web, or what it says. */
export function SafeLink({ to, children }: { to: string; children: ComponentChildren }) {
  if (!/^https?:\/\//i.test(to.trim())) return <>{children}</>;
  return <a href={to.trim()} target="_blank" rel="noopener noreferrer">{children}</a>;
}
