/**
 * Completion that asks the server for a few matches of what is typed, and never for whole lists: a server may have
 * hundreds of thousands of metrics and millions of values.
 */
import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import { syntaxTree } from '@codemirror/language';
import { type CompleteStrategy, type PrometheusClient, newCompleteStrategy } from '@prometheus-io/codemirror-promql';
import type { Matcher } from '@prometheus-io/codemirror-promql/dist/esm/types';
import { EqlRegex, EqlSingle, Neq, NeqRegex } from '@prometheus-io/lezer-promql';
import { get } from '../api/client';
import { type Matches, find } from '../api/search';
import { labelName, quote } from '../format/series';
import { queryHistory } from '../settings';

const MAX_HISTORY = 5;

class Client implements PrometheusClient {
  /** What is typed at the cursor. */
  typed = '';

  metricNames(): Promise<string[]> {
    return this.guarded(find({ names: 'metric' }, this.typed, undefined));
  }

  labelNames(metric?: string): Promise<string[]> {
    const selector = metric ? `{__name__=${quote(metric)}}` : undefined;
    return this.guarded(find({ names: 'label' }, this.typed, selector)).then((names) => names.filter((name) => name !== '__name__'));
  }

  labelValues(label: string, metric?: string, matchers: Matcher[] = []): Promise<string[]> {
    // The matcher that is being typed would restrict the values to itself.
    const others = matchers
      .filter(({ name, value }) => name !== label && value !== '')
      .map(written)
      .filter((matcher) => matcher !== null);
    if (metric) others.unshift(`__name__=${quote(metric)}`);
    return this.guarded(find({ valuesOf: label }, this.typed, others.length > 0 ? `{${others.join(', ')}}` : undefined));
  }

  series(): Promise<Map<string, string>[]> {
    return Promise.resolve([]);
  }

  metricMetadata(): Promise<Record<string, { type: string; help: string }[]>> {
    return Promise.resolve({});
  }

  flags(): Promise<Record<string, string>> {
    return Promise.resolve({});
  }

  /** Without the server there is still the completion of PromQL's own words. */
  private guarded(found: Promise<Matches>): Promise<string[]> {
    return found.then(({ texts }) => texts).catch(() => []);
  }
}

const OPERATORS: Record<number, string> = { [EqlSingle]: '=', [Neq]: '!=', [EqlRegex]: '=~', [NeqRegex]: '!~' };

/** A matcher as it is written. Its value is the text between the quotes, so it is escaped already. */
function written({ name, type, value }: Matcher): string | null {
  const operator = OPERATORS[type];
  const isQuoted = !/(^|[^\\])"/.test(value);
  return operator && isQuoted ? `${labelName(name)}${operator}"${value}"` : null;
}

interface Metadata { type: string; help: string; unit: string }

/** Looks up what a metric is when its completion is selected. */
async function describe(metric: string): Promise<Node | null> {
  const names = [metric, metric.replace(/_(count|sum|bucket|total)$/, '')];
  for (const name of new Set(names)) {
    const { data } = await get<Record<string, Metadata[]>>('metadata', { metric: name, limit: '1' });
    const found = data[name]?.[0];
    if (!found) continue;
    const node = document.createElement('div');
    node.textContent = `${found.type}${found.unit && `, ${found.unit}`}. ${found.help}`;
    return node;
  }
  return null;
}

/** PromQL's words, the server's names and values, and earlier queries. */
export class ServerCompletion implements CompleteStrategy {
  private readonly client = new Client();
  private readonly words = newCompleteStrategy({ remote: this.client });

  async promQL(context: CompletionContext): Promise<CompletionResult | null> {
    const { state, pos } = context;
    const node = syntaxTree(state).resolveInner(pos, -1);
    const inString = node.name === 'StringLiteral';
    const before = state.sliceDoc(inString ? node.from + 1 : 0, pos);
    this.client.typed = inString ? before : (/[\w:.]*$/.exec(before)?.[0] ?? '');
    const result = await this.words.promQL(context);
    const history = this.history(state.doc.toString(), pos);
    if (!result) return history.length > 0 ? { from: 0, options: history } : null;
    const options = result.options.map((option) =>
      option.type === 'constant' ? { ...option, info: () => describe(option.label).catch(() => null) } : option,
    );
    // The server answers for what is typed now, so further letters need another answer.
    return { ...result, options: result.from === 0 ? [...options, ...history] : options, validFor: undefined };
  }

  private history(text: string, pos: number): Completion[] {
    if (pos !== text.length || !text.trim()) return [];
    return queryHistory.value
      .filter((query) => query !== text && query.includes(text))
      .slice(0, MAX_HISTORY)
      .map((label) => ({ label, apply: label, detail: 'history', type: 'keyword', boost: -99 }));
  }
}
