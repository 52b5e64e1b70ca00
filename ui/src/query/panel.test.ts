import { describe, expect, test } from 'vitest';
import { decodePanels, encodePanels, newPanel, stepOf, tooManyPoints } from './panel';

const decode = (search: string) => decodePanels(new URLSearchParams(search));

describe('links', () => {
  test('of alerts open the table', () => {
    const [panel] = decode('g0.expr=up+%3D%3D+0&g0.tab=1');
    expect(panel).toMatchObject({ expr: 'up == 0', tab: 'table', endMs: null });
  });

  test('of Prometheus 3 carry range, end, resolution and picture', () => {
    const [panel] = decode(
      'g0.expr=rate(x%5B5m%5D)&g0.show_tree=1&g0.tab=graph&g0.end_input=2026-11-30+20%3A00%3A00&g0.moment_input=2026-11-30+20%3A00%3A00&g0.range_input=6h&g0.res_type=fixed&g0.res_step=30&g0.display_mode=stacked&g0.y_axis_min=0&g0.show_exemplars=1',
    );
    expect(panel).toMatchObject({
      expr: 'rate(x[5m])', tab: 'graph', mode: 'stacked', rangeMs: 21_600_000, endMs: Date.UTC(2026, 10, 30, 20),
      resolution: { type: 'fixed', stepMs: 30_000 }, yMin: 0, hasExemplars: true, hasTree: true,
    });
  });

  test('of Prometheus 2 are understood', () => {
    const [panel] = decode('g0.expr=a&g0.tab=0&g0.stacked=1&g0.range_input=1d&g0.step_input=60');
    expect(panel).toMatchObject({ tab: 'graph', mode: 'stacked', rangeMs: 86_400_000, resolution: { type: 'custom', stepMs: 60_000 } });
  });

  test('with several panels keep their order, and end at the first gap', () => {
    expect(decode('g0.expr=a&g1.expr=b&g3.expr=d').map(({ expr }) => expr)).toEqual(['a', 'b']);
  });

  test('with nonsense keep what is usual', () => {
    const [panel] = decode('g0.expr=a&g0.tab=x&g0.range_input=fast&g0.res_type=fixed&g0.res_step=-1&g0.end_input=never&g0.display_mode=3d&g0.y_axis_min=low');
    expect(panel).toMatchObject({ tab: 'table', mode: 'lines', rangeMs: 3_600_000, endMs: null, resolution: { type: 'auto', density: 'medium' }, yMin: null });
  });

  test('say the same after being written and read', () => {
    const panels = [
      newPanel({ expr: 'a{b="c&d"}', tab: 'graph', endMs: 1_796_000_000_000, resolution: { type: 'fixed', stepMs: 1500 }, mode: 'heatmap' }),
      newPanel({ expr: 'b', tab: 'explain', yMin: -1, resolution: { type: 'auto', density: 'high' } }),
    ];
    const again = decodePanels(encodePanels(panels));
    expect(again.map((panel, i) => ({ ...panel, id: panels[i]?.id }))).toEqual(panels);
  });
});

describe('steps', () => {
  test('follow the range', () => {
    expect(stepOf(newPanel())).toBe(14_000);
    expect(stepOf(newPanel({ rangeMs: 1000 }))).toBe(100);
  });

  test('that give too many points are refused with the reason', () => {
    expect(tooManyPoints(newPanel({ rangeMs: 86_400_000, resolution: { type: 'fixed', stepMs: 1000 } }))).toContain('86,401 points');
    expect(tooManyPoints(newPanel({ rangeMs: 86_400_000 }))).toBe('');
  });
});
