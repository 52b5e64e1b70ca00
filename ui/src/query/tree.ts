/** The syntax tree of a query, as `/api/v1/parse_query` returns it, and its parts as PromQL. Pure. */
import { formatDuration } from '../format/duration';
import { labelName, quote, selector } from '../format/series';

interface Times {
  offset: number;
  offsetExpr: Node | null;
  timestamp: number | null;
  startOrEnd: 'start' | 'end' | null;
}

interface Selector extends Times {
  name: string;
  matchers: { name: string; value: string; type: string }[];
  anchored: boolean;
  smoothed: boolean;
}

interface Matching {
  card: string;
  labels: string[];
  on: boolean;
  include: string[];
  fillValues: { lhs: number | null; rhs: number | null };
}

export type Node =
  | { type: 'aggregation'; op: string; expr: Node; param: Node | null; grouping: string[]; without: boolean }
  | { type: 'binaryExpr'; op: string; lhs: Node; rhs: Node; matching: Matching | null; bool: boolean }
  | { type: 'call'; func: { name: string }; args: Node[] }
  | ({ type: 'matrixSelector'; range: number; rangeExpr: Node | null } & Selector)
  | ({ type: 'vectorSelector' } & Selector)
  | ({ type: 'subquery'; expr: Node; range: number; rangeExpr: Node | null; step: number; stepExpr: Node | null } & Times)
  | { type: 'numberLiteral'; val: string; duration?: boolean }
  | { type: 'stringLiteral'; val: string }
  | { type: 'parenExpr'; expr: Node }
  | { type: 'unaryExpr'; op: string; expr: Node }
  | { type: 'durationExpr'; op: string; lhs: Node | null; rhs: Node | null; wrapped: boolean };

/** The parts of a node that are queries themselves. */
export function children(node: Node): Node[] {
  switch (node.type) {
    case 'aggregation': return [...(node.param ? [node.param] : []), node.expr];
    case 'binaryExpr': return [node.lhs, node.rhs];
    case 'call': return node.args;
    case 'subquery':
    case 'parenExpr':
    case 'unaryExpr': return [node.expr];
    default: return [];
  }
}

/** What a node does, without its parts. */
export function title(node: Node): string {
  switch (node.type) {
    case 'aggregation': return `${node.op}${grouping(node.grouping, node.without)}`;
    case 'binaryExpr': return `${node.op}${modifiers(node.matching, node.bool)}`;
    case 'call': return `${node.func.name}()`;
    case 'subquery': return `subquery ${brackets(node)}`;
    case 'parenExpr': return '( )';
    case 'unaryExpr': return `unary ${node.op}`;
    default: return text(node);
  }
}

/** The PromQL of a node with all its parts. */
export function text(node: Node): string {
  switch (node.type) {
    case 'aggregation': return `${title(node)} (${[...(node.param ? [node.param] : []), node.expr].map(text).join(', ')})`;
    case 'binaryExpr': return `${text(node.lhs)} ${title(node)} ${text(node.rhs)}`;
    case 'call': return `${node.func.name}(${node.args.map(text).join(', ')})`;
    case 'matrixSelector': return `${series(node)}[${length(node.range, node.rangeExpr)}]${after(node)}`;
    case 'vectorSelector': return `${series(node)}${after(node)}`;
    case 'subquery': return `${text(node.expr)}${brackets(node)}${times(node)}`;
    case 'numberLiteral': return node.duration ? formatDuration(Number(node.val) * 1000) : node.val;
    case 'stringLiteral': return quote(node.val);
    case 'parenExpr': return `(${text(node.expr)})`;
    case 'unaryExpr': return `${node.op}${text(node.expr)}`;
    case 'durationExpr': return duration(node.op, node.lhs, node.rhs, node.wrapped);
  }
}

const list = (names: string[]): string => names.map(labelName).join(', ');

function grouping(names: string[], isWithout: boolean): string {
  if (names.length === 0 && !isWithout) return '';
  return ` ${isWithout ? 'without' : 'by'} (${list(names)})`;
}

function modifiers(matching: Matching | null, isBool: boolean): string {
  let out = isBool ? ' bool' : '';
  if (!matching) return out;
  if (matching.on || matching.labels.length > 0) out += ` ${matching.on ? 'on' : 'ignoring'} (${list(matching.labels)})`;
  if (matching.card === 'many-to-one') out += ` group_left (${list(matching.include)})`;
  if (matching.card === 'one-to-many') out += ` group_right (${list(matching.include)})`;
  const { lhs, rhs } = matching.fillValues;
  if (lhs !== null && lhs === rhs) return `${out} fill (${lhs})`;
  if (lhs !== null) out += ` fill_left (${lhs})`;
  if (rhs !== null) out += ` fill_right (${rhs})`;
  return out;
}

function series({ name, matchers }: Selector): string {
  const others = matchers.filter((matcher) => !(matcher.name === '__name__' && matcher.type === '=' && matcher.value === name));
  const written = others.map((matcher) => `${labelName(matcher.name)}${matcher.type}${quote(matcher.value)}`);
  return name ? selector(name, written) : `{${written.join(', ')}}`;
}

function after(node: Selector): string {
  return `${node.anchored ? ' anchored' : ''}${node.smoothed ? ' smoothed' : ''}${times(node)}`;
}

function times({ offset, offsetExpr, timestamp, startOrEnd }: Times): string {
  const at = startOrEnd ? ` @ ${startOrEnd}()` : timestamp === null ? '' : ` @ ${(timestamp / 1000).toFixed(3)}`;
  if (offsetExpr) return `${at} offset ${text(offsetExpr)}`;
  return offset === 0 ? at : `${at} offset ${offset < 0 ? '-' : ''}${formatDuration(Math.abs(offset))}`;
}

const length = (ms: number, expr: Node | null): string => (expr ? text(expr) : formatDuration(ms));

function brackets({ range, rangeExpr, step, stepExpr }: { range: number; rangeExpr: Node | null; step: number; stepExpr: Node | null }): string {
  return `[${length(range, rangeExpr)}:${step === 0 && !stepExpr ? '' : length(step, stepExpr)}]`;
}

function duration(op: string, lhs: Node | null, rhs: Node | null, isWrapped: boolean): string {
  const [left, right] = [lhs && text(lhs), rhs && text(rhs)];
  const isFunction = /[a-z]/.test(op);
  const name = op.replace('()', '');
  const out = isFunction ? `${name}(${[left, right].filter(Boolean).join(', ')})` : left === null ? `${op}${right ?? ''}` : `${left} ${op} ${right ?? ''}`;
  return isWrapped ? `(${out})` : out;
}
