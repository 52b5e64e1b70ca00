/** Values in units, by the names that Grafana gives to units. */
import { formatSeconds } from '../../format/duration';
import { formatTime } from '../../format/time';

export interface Shown {
  prefix: string;
  /** The number. */
  text: string;
  /** The unit, with a space before it where it is written with one. */
  suffix: string;
}

type Format = (value: number, decimals: number | null) => Shown;

const SI = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
const SI_SMALL = ['', 'm', 'µ', 'n', 'p'];
const IEC = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei', 'Zi', 'Yi'];
const SHORT = ['', ' K', ' Mil', ' Bil', ' Tri', ' Quadr', ' Quint'];

/** A number with the decimals that are asked for, or with about three digits. */
export function digits(value: number, decimals: number | null): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
  if (decimals !== null) return value.toFixed(Math.min(Math.max(decimals, 0), 20));
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude >= 1e21 || (magnitude < 1e-9 && value !== 0)) return value.toExponential(2);
  return String(Number(value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : Math.min(20, 2 - Math.floor(Math.log10(magnitude))))));
}

const plain = (suffix: string, prefix = ''): Format => (value, decimals) => ({ prefix, text: digits(value, decimals), suffix });

/** Numbers with a prefix of the unit for every power of `base`, beginning at the power `from`. */
function scaled(names: string[], base: number, unit: string, from = 0, separator = ' '): Format {
  return (value, decimals) => {
    let power = from;
    let rest = value;
    while (Math.abs(rest) >= base && power < names.length - 1) {
      rest /= base;
      power++;
    }
    while (Math.abs(rest) < 1 && rest !== 0 && power > 0) {
      rest *= base;
      power--;
    }
    const suffix = `${names[power] ?? ''}${unit}`;
    return { prefix: '', text: digits(rest, decimals), suffix: suffix && `${suffix.startsWith(' ') ? '' : separator}${suffix}` };
  };
}

/** Numbers of a unit that may be much smaller than one, such as amperes. */
function si(unit: string, power = 0): Format {
  const large = scaled(SI, 1000, unit);
  return (value, decimals) => {
    let rest = value * 1000 ** power;
    if (Math.abs(rest) >= 1 || rest === 0 || !Number.isFinite(rest)) return large(rest, decimals);
    let small = 0;
    while (Math.abs(rest) < 1 && small < SI_SMALL.length - 1) {
      rest *= 1000;
      small++;
    }
    return { prefix: '', text: digits(rest, decimals), suffix: ` ${SI_SMALL[small]}${unit}` };
  };
}

const count = (unit: string): Format => scaled(SI.map((name) => (name === 'k' ? 'K' : name)), 1000, ` ${unit}`.trimEnd(), 0, '');

const TIMES: [size: number, name: string][] = [[31_536_000, 'years'], [604_800, 'weeks'], [86_400, 'days'], [3600, 'hours'], [60, 'mins'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs'], [1e-9, 'ns']];

/** A span of time that is given in units of `seconds`. */
function span(seconds: number): Format {
  return (value, decimals) => {
    const total = value * seconds;
    if (!Number.isFinite(total)) return plain('')(value, decimals);
    const [size, name] = (total === 0 ? TIMES[5] : TIMES.find(([size]) => Math.abs(total) >= size)) ?? TIMES[8] ?? [1, 's'];
    const amount = total / size;
    // One hour is an hour.
    const unit = name.length > 2 && digits(amount, decimals) === '1' ? name.slice(0, -1) : name;
    return { prefix: '', text: digits(amount, decimals), suffix: ` ${unit}` };
  };
}

/** A span of time in its two largest units, `3d 4h`. */
const duration = (seconds: number): Format => (value) => ({ prefix: '', text: formatSeconds(value * seconds), suffix: '' });

const clock = (seconds: number): Format => (value) => {
  const total = Math.floor(Math.abs(value * seconds));
  const parts = [Math.floor(total / 3600), Math.floor((total % 3600) / 60), total % 60].map((part) => String(part).padStart(2, '0'));
  return { prefix: value < 0 ? '-' : '', text: parts.join(':'), suffix: '' };
};

const moment = (format: (ms: number) => string): Format => (value) => ({ prefix: '', text: Number.isFinite(value) ? format(value) : '', suffix: '' });

const either = (yes: string, no: string): Format => (value) => ({ prefix: '', text: value === 0 ? no : yes, suffix: '' });

const currency = (symbol: string): Format => (value, decimals) => ({ ...scaled(['', 'K', 'M', 'B', 'T'], 1000, '', 0, '')(value, decimals), prefix: symbol });

/** What happens per second or minute. */
const RATES: Record<string, string> = {
  cps: 'c/s', ops: 'ops/s', reqps: 'req/s', rps: 'rd/s', wps: 'wr/s', iops: 'io/s', eps: 'evt/s', mps: 'msg/s', recps: 'rec/s', rowsps: 'rows/s',
  cpm: 'c/m', opm: 'ops/m', reqpm: 'req/m', rpm: 'rd/m', wpm: 'wr/m', epm: 'evts/m', mpm: 'msgs/m', pps: 'p/s',
};

const UNITS: Record<string, Format> = {
  none: plain(''),
  string: plain(''),
  short: scaled(SHORT, 1000, '', 0, ''),
  sishort: si(''),
  percent: plain('%'),
  percentunit: (value, decimals) => plain('%')(value * 100, decimals),
  humidity: plain('%H'),
  dB: plain(' dB'),
  ppm: plain(' ppm'),
  pH: plain(' pH'),
  locale: (value, decimals) => ({ prefix: '', text: value.toLocaleString('en-US', decimals === null ? {} : { maximumFractionDigits: Math.min(decimals, 20) }), suffix: '' }),
  sci: (value, decimals) => ({ prefix: '', text: value.toExponential(decimals ?? 2), suffix: '' }),
  hex: (value) => ({ prefix: '', text: Math.trunc(value).toString(16).toUpperCase(), suffix: '' }),
  hex0x: (value) => ({ prefix: '0x', text: Math.trunc(value).toString(16).toUpperCase(), suffix: '' }),
  bool: either('True', 'False'),
  bool_yes_no: either('Yes', 'No'),
  bool_on_off: either('On', 'Off'),
  bits: scaled(IEC, 1024, 'b'),
  bytes: scaled(IEC, 1024, 'B'),
  kbytes: scaled(IEC, 1024, 'B', 1),
  mbytes: scaled(IEC, 1024, 'B', 2),
  gbytes: scaled(IEC, 1024, 'B', 3),
  tbytes: scaled(IEC, 1024, 'B', 4),
  pbytes: scaled(IEC, 1024, 'B', 5),
  decbits: scaled(SI, 1000, 'b'),
  decbytes: scaled(SI, 1000, 'B'),
  deckbytes: scaled(SI, 1000, 'B', 1),
  decmbytes: scaled(SI, 1000, 'B', 2),
  decgbytes: scaled(SI, 1000, 'B', 3),
  dectbytes: scaled(SI, 1000, 'B', 4),
  bps: scaled(SI, 1000, 'b/s'),
  Bps: scaled(SI, 1000, 'B/s'),
  binbps: scaled(IEC, 1024, 'b/s'),
  binBps: scaled(IEC, 1024, 'B/s'),
  KBs: scaled(SI, 1000, 'B/s', 1),
  KiBs: scaled(IEC, 1024, 'B/s', 1),
  Kbits: scaled(SI, 1000, 'b/s', 1),
  MBs: scaled(SI, 1000, 'B/s', 2),
  MiBs: scaled(IEC, 1024, 'B/s', 2),
  Mbits: scaled(SI, 1000, 'b/s', 2),
  GBs: scaled(SI, 1000, 'B/s', 3),
  Gbits: scaled(SI, 1000, 'b/s', 3),
  ns: span(1e-9),
  µs: span(1e-6),
  ms: span(1e-3),
  s: span(1),
  m: span(60),
  h: span(3600),
  d: span(86_400),
  dtdurations: duration(1),
  dtdurationms: duration(1e-3),
  dthms: clock(1),
  dthmsms: clock(1e-3),
  clocks: clock(1),
  clockms: clock(1e-3),
  timeticks: duration(0.01),
  dateTimeAsIso: moment((ms) => formatTime(ms)),
  dateTimeAsIsoNoDateIfToday: moment((ms) => formatTime(ms)),
  dateTimeAsUS: moment((ms) => formatTime(ms)),
  dateTimeAsSystem: moment((ms) => formatTime(ms)),
  dateTimeAsLocal: moment((ms) => formatTime(ms)),
  dateTimeFromNow: moment((ms) => (ms <= Date.now() ? `${formatSeconds((Date.now() - ms) / 1000)} ago` : `in ${formatSeconds((ms - Date.now()) / 1000)}`)),
  celsius: plain(' °C'),
  fahrenheit: plain(' °F'),
  kelvin: plain(' K'),
  degree: plain('°'),
  radian: si('rad'),
  hertz: si('Hz'),
  rothz: si('Hz'),
  rotrpm: plain(' rpm'),
  watt: si('W'),
  kwatt: si('W', 1),
  mwatt: si('W', -1),
  voltamp: si('VA'),
  watth: si('Wh'),
  kwatth: si('Wh', 1),
  joule: si('J'),
  volt: si('V'),
  mvolt: si('V', -1),
  amp: si('A'),
  mamp: si('A', -1),
  ohm: si('Ω'),
  farad: si('F'),
  lumens: si('Lm'),
  lux: si('lx'),
  lengthm: si('m'),
  lengthmm: si('m', -1),
  lengthkm: si('m', 1),
  massg: si('g'),
  masskg: si('g', 1),
  litre: si('L'),
  pressurepa: si('Pa'),
  pressurehpa: plain(' hPa'),
  pressurebar: si('bar'),
  velocityms: plain(' m/s'),
  velocitykmh: plain(' km/h'),
  flops: si('FLOPS'),
  currencyUSD: currency('$'),
  currencyEUR: currency('€'),
  currencyGBP: currency('£'),
  currencyJPY: currency('¥'),
};

for (const [name, unit] of Object.entries(RATES)) UNITS[name] = count(unit);

/** Units that carry their parameter in their name. */
const FAMILIES: [prefix: string, format: (rest: string) => Format][] = [
  ['suffix:', (rest) => plain(rest)],
  ['prefix:', (rest) => plain('', rest)],
  ['time:', () => moment((ms) => formatTime(ms))],
  ['count:', (rest) => count(rest)],
  ['si:', (rest) => si(rest.replace(/^[munkMGT](?=.)/, ''), { m: -1, u: -2, n: -3, k: 1, M: 2, G: 3, T: 4 }[rest.length > 1 ? (rest[0] ?? '') : ''] ?? 0)],
  ['currency:', (rest) => currency(rest)],
  ['bool:', (rest) => either(rest.split('/')[0] || 'True', rest.split('/')[1] || 'False')],
];

/** Formats a value. A unit that nobody knows is written behind the number, as Grafana does. */
export function inUnit(value: number, unit: string, decimals: number | null): Shown {
  if (!unit) return plain('')(value, decimals);
  if (!Number.isFinite(value)) return plain('')(value, null);
  const known = Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined;
  if (known) return known(value, decimals);
  const family = FAMILIES.find(([prefix]) => unit.startsWith(prefix));
  return family ? family[1](unit.slice(family[0].length))(value, decimals) : plain(` ${unit}`)(value, decimals);
}

export const shownText = ({ prefix, text, suffix }: Shown): string => prefix + text + suffix;
