/** The editor of PromQL. It lives in a shadow root, where CodeMirror's style sheets satisfy the Content-Security-Policy. */
import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, selectedCompletion, startCompletion } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, drawSelection, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'preact/hooks';
import { ServerCompletion } from './completion';

const theme = EditorView.theme({
  '&': { color: 'var(--text)', fontSize: '14px', backgroundColor: 'transparent' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': { fontFamily: 'var(--mono)', padding: '6px 0', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0 10px' },
  '.cm-scroller': { maxHeight: '40vh' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--accent) 28%, transparent)' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--accent-soft)', outline: '1px solid var(--accent)' },
  '.cm-tooltip': { border: '1px solid var(--border)', borderRadius: '6px', backgroundColor: 'var(--raised)', color: 'var(--text)', boxShadow: 'var(--shadow)', zIndex: '30' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', fontSize: '13px', maxHeight: '300px' },
  '.cm-tooltip-autocomplete > ul > li': { padding: '3px 8px', maxWidth: '80vw' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent-soft)', color: 'var(--text)' },
  '.cm-completionMatchedText': { color: 'var(--accent)', textDecoration: 'none', fontWeight: '700' },
  '.cm-completionDetail': { color: 'var(--muted)', fontStyle: 'normal', marginLeft: '1em' },
  '.cm-completionIcon': { display: 'none' },
  '.cm-completionInfo': { padding: '8px 10px', maxWidth: 'min(420px, 60vw)', fontFamily: 'var(--sans)', whiteSpace: 'normal', overflowWrap: 'anywhere' },
  '.cm-diagnostic': { padding: '4px 10px', fontFamily: 'var(--sans)' },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--bad)' },
});

const highlight = HighlightStyle.define([
  { tag: tags.name, color: 'var(--syntax-name)' },
  { tag: [tags.labelName, tags.propertyName, tags.attributeName], color: 'var(--syntax-number)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--syntax-string)' },
  { tag: [tags.number, tags.literal], color: 'var(--syntax-number)' },
  { tag: [tags.function(tags.variableName), tags.keyword, tags.modifier], color: 'var(--syntax-keyword)' },
  { tag: tags.operator, color: 'var(--muted)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
]);

/** Text that replaces what is in the editor. A new object replaces it also by the same text. */
export interface Given {
  text: string;
}

export function Editor({ given, onChange, onRun, label, shouldFocus }: {
  /** Text from elsewhere: the address, the history, formatting. What is typed does not come back this way. */
  given: Given;
  onChange: (text: string) => void;
  onRun: (text: string) => void;
  label: string;
  shouldFocus: boolean;
}) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ onChange, onRun });
  latest.current = { onChange, onRun };

  useEffect(() => {
    if (!host.current) return;
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: 'open' });
    const promql = new PromQLExtension().setComplete({ completeStrategy: new ServerCompletion() });
    const run = (view: EditorView) => {
      latest.current.onRun(view.state.doc.toString());
      return true;
    };
    // Where the completion is what is typed already, Enter has nothing to complete.
    const runIfComplete = (view: EditorView) => {
      const chosen = selectedCompletion(view.state)?.label;
      const before = view.state.sliceDoc(0, view.state.selection.main.head);
      if (!chosen || !before.endsWith(chosen)) return false;
      closeCompletion(view);
      return run(view);
    };
    const created = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: given.text,
        extensions: [
          history(),
          drawSelection(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ activateOnTypingDelay: 150, maxRenderedOptions: 100 }),
          promql.asExtension(),
          theme,
          syntaxHighlighting(highlight),
          EditorView.lineWrapping,
          placeholder('Write PromQL; Enter runs it, Shift+Enter begins a new line, Ctrl+Space completes'),
          EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false' }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
          Prec.highest(keymap.of([{ key: 'Enter', run: runIfComplete }])),
          keymap.of([...closeBracketsKeymap, ...completionKeymap, ...lintKeymap]),
          Prec.low(keymap.of([
            { key: 'Enter', run },
            { key: 'Mod-Enter', run },
            { key: 'Shift-Enter', run: insertNewlineAndIndent },
            { key: 'Mod-Space', run: startCompletion },
          ])),
          Prec.lowest(keymap.of([...historyKeymap, ...defaultKeymap])),
        ],
      }),
    });
    view.current = created;
    if (shouldFocus) created.focus();
    return () => {
      created.destroy();
      promql.destroy();
    };
  }, []);

  useEffect(() => {
    const { current } = view;
    const { text } = given;
    if (!current || current.state.doc.toString() === text) return;
    current.dispatch({ changes: { from: 0, to: current.state.doc.length, insert: text }, selection: { anchor: text.length } });
  }, [given]);

  return <div class="editor" ref={host} onClick={() => view.current?.focus()} />;
}
