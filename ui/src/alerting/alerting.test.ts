import { expect, test } from 'vitest';
import { readDeliveries } from './deliveries';
import { spansOf } from './history';
import { readMatchers, writeMatcher } from './matchers';

test('matchers are written as they are read', () => {
  const text = 'alertname="Down", job!="a,b", "odd name"=~"x\\"y\\\\.z", empty=""';
  const read = readMatchers(`{${text}}`);
  expect(read?.map(({ name, value, isEqual, isRegex }) => [name, value, isEqual, isRegex])).toEqual([
    ['alertname', 'Down', true, false],
    ['job', 'a,b', false, false],
    ['odd name', 'x"y\\.z', true, true],
    ['empty', '', true, false],
  ]);
  expect(read?.map(writeMatcher).join(', ')).toBe(text);
  expect(readMatchers('severity=page')?.[0]?.value).toBe('page');
  expect(readMatchers('no matcher')).toBeNull();
});

test('deliveries are counted by receiver and integration, with the reasons of failures', () => {
  const text = [
    'alertmanager_notifications_total{integration="webhook",receiver_name="team"} 9',
    'alertmanager_notifications_failed_total{integration="webhook",reason="other",receiver_name="team"} 2',
    'alertmanager_notifications_failed_total{integration="webhook",reason="clientError",receiver_name="team"} 0',
    'alertmanager_notifications_total{integration="email",receiver_name=""} 0',
  ].join('\n');
  expect(readDeliveries(text)).toEqual([{ integration: 'webhook', receiver: 'team', sent: 9, failed: 2, reasons: [['other', 2]] }]);
});

test('a strip joins steps of the same state, and firing covers pending', () => {
  const spans = spansOf(new Set([20, 30]), new Set([10, 20, 50]), 0, 7, 10);
  expect(spans).toEqual([{ state: 'pending', from: 10, to: 20 }, { state: 'firing', from: 20, to: 40 }, { state: 'pending', from: 50, to: 60 }]);
});
