/** The tree of what is in the editor. Each part can be opened as a query of its own. */
import { useEffect, useState } from 'preact/hooks';
import { post } from '../api/client';
import { type Node, children, text, title } from './tree';

const TYPING_MS = 250;
const MAX_DEPTH = 40;

export function TreeView({ query, open }: { query: string; open: (query: string) => void }) {
  const [tree, setTree] = useState<Node | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    setProblem('');
    if (!query.trim()) {
      setTree(null);
      return;
    }
    const abort = new AbortController();
    const timer = setTimeout(() => {
      post<Node>('parse_query', { query }, abort.signal).then(
        ({ data }) => setTree(data),
        (error: Error) => abort.signal.aborted || setProblem(error.message),
      );
    }, tree ? TYPING_MS : 0);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [query]);
  return (
    <div class="tree">
      {problem ? <p class="muted">No tree: {problem}</p> : tree ? <ul><Part node={tree} depth={0} open={open} /></ul> : <p class="muted">The tree of the query appears here.</p>}
    </div>
  );
}

function Part({ node, depth, open }: { node: Node; depth: number; open: (query: string) => void }) {
  const parts = children(node);
  const isQuery = node.type !== 'stringLiteral' && node.type !== 'numberLiteral' && node.type !== 'durationExpr';
  return (
    <li>
      {isQuery && depth > 0 ? (
        <button type="button" class="mono" title="Open this part in a panel of its own" onClick={() => open(text(node))}>{title(node)}</button>
      ) : (
        <span class="mono">{title(node)}</span>
      )}
      {parts.length > 0 && depth < MAX_DEPTH && <ul>{parts.map((part, i) => <Part key={i} node={part} depth={depth + 1} open={open} />)}</ul>}
      {parts.length > 0 && depth >= MAX_DEPTH && <span class="muted"> and deeper parts</span>}
    </li>
  );
}
