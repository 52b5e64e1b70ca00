/**
 * Reads HTML without giving it to the browser, which would already fetch pictures and complain about scripts. Attributes are
 * dropped, except the addresses of links.
 */

export interface HtmlElement {
  name: string;
  href: string;
  children: HtmlNode[];
}

export type HtmlNode = string | HtmlElement;

const VOID = new Set(['area', 'base', 'br', 'col', 'embed', 'hr', 'img', 'input', 'link', 'meta', 'source', 'track', 'wbr']);
/** What is inside of these is no text. */
const SILENT = new Set(['script', 'style', 'template', 'iframe', 'object', 'noscript', 'title', 'svg', 'math', 'textarea', 'select']);
/** An element of these ends when the next one begins. */
const ENDED_BY_NEXT = new Set(['p', 'li', 'tr', 'td', 'th', 'dt', 'dd', 'option']);
const MAX_DEPTH = 40;

const TOKEN = /<!--[\s\S]*?(?:-->|$)|<!?(\/?)([a-zA-Z][\w:-]*)((?:"[^"]*"|'[^']*'|[^"'<>])*)>|<(?![a-zA-Z/!])|[^<]+|</g;

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', mdash: '—', ndash: '–', hellip: '…', rarr: '→', larr: '←', deg: '°', micro: 'µ', bull: '•', middot: '·', times: '×' };

function decoded(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi, (whole, decimal?: string, hex?: string, name?: string) => {
    const code = decimal ? Number(decimal) : hex ? parseInt(hex, 16) : NaN;
    if (code > 0 && code <= 0x10ffff) return String.fromCodePoint(code);
    return (name && ENTITIES[name.toLowerCase()]) || whole;
  });
}

export function parseHtml(source: string): HtmlNode[] {
  const root: HtmlElement = { name: '', href: '', children: [] };
  const open = [root];
  let silent = '';
  for (const [token, slash, tag, attributes = ''] of source.matchAll(TOKEN)) {
    const name = tag?.toLowerCase();
    const top = open.at(-1) ?? root;
    if (silent) {
      if (slash && name === silent) silent = '';
    } else if (name === undefined) {
      if (!token.startsWith('<!--')) top.children.push(decoded(token));
    } else if (token.startsWith('<!')) {
      // A declaration says nothing.
    } else if (slash) {
      const at = open.findLastIndex((element) => element.name === name);
      if (at > 0) open.length = at;
    } else if (SILENT.has(name)) {
      silent = attributes.endsWith('/') ? '' : name;
    } else {
      if (ENDED_BY_NEXT.has(name) && top.name === name) open.pop();
      const href = /(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/i.exec(attributes);
      const element = { name, href: decoded(href?.[1] ?? href?.[2] ?? href?.[3] ?? ''), children: [] };
      (open.at(-1) ?? root).children.push(element);
      if (!VOID.has(name) && !attributes.endsWith('/') && open.length < MAX_DEPTH) open.push(element);
    }
  }
  return root.children;
}
