"""Random PromQL expressions as trees, and smaller ones of a tree. Standard library only.

A node has a kind (scalar, vector, matrix, string) and parts: text, nodes, and optional parts, which the shrinker may leave away.
"""
import math

from data import START, STEP, COUNT

SCALAR, VECTOR, MATRIX, STRING = "scalar", "vector", "matrix", "string"
KINDS = (SCALAR, VECTOR, MATRIX, STRING)


class Node:
    __slots__ = ("kind", "parts")

    def __init__(self, kind, *parts):
        self.kind, self.parts = kind, parts

    def __str__(self):
        return "".join(map(str, self.parts))

    def nodes(self):
        """The nodes right below, also those in optional parts."""
        for part in self.parts:
            if isinstance(part, Node):
                yield part
            elif isinstance(part, Option):
                yield from part.nodes()

    def below(self):
        for node in self.nodes():
            yield node
            yield from node.below()

    def smaller(self):
        """Trees like this one with something less."""
        seen = set()
        for node in self.below():
            if node.kind == self.kind and str(node) not in seen:
                seen.add(str(node))
                yield node
        for at, part in enumerate(self.parts):
            if isinstance(part, Option):
                yield Node(self.kind, *self.parts[:at], *self.parts[at + 1:])
            if isinstance(part, (Node, Option)):
                for less in part.smaller():
                    yield type(self)(self.kind, *self.parts[:at], less, *self.parts[at + 1:])


class Option(Node):
    """Parts that may be omitted together."""

    def __init__(self, *parts):
        super().__init__("option", *(parts[1:] if parts and parts[0] == "option" else parts))


COUNTERS = ["begun_total", "requests_total", "errors_total", "seconds_total", "latency_bucket", "latency_sum", "latency_count"]
GAUGES = ["temp", "load", "level", "up", "strange", "typed", "info_metric", "single", "sparse", "constant", "version", "target_info"]
NATIVE = ["begun", "nh", "nh_schemas", "nh_gauge", "nhcb", "nhcb_layouts", "mixed_schemas", "nh_nan"]
BOTH = ["mixed", "either", "latency"]
CLASSIC = ["latency_bucket", "flawed_bucket", "odd_bucket"]
LABELS = ["job", "instance", "env", "code", "le", "version", "region", "kind", "__name__", "missing"]
VALUES = {"job": ["api", "db", "api", "db", "x", ""], "instance": ["a", "b", "c"], "env": ["prod", "dev", ""], "code": ["200", "404", "500"], "le": ["1", "+Inf", "5"],
          "version": ["1.0", "2.0"], "region": ["eu", "us"], "kind": ["float", "nh", "nhcb"], "missing": ["", "x"]}
REGEXES = {"job": ["a.*", "api|db", ".+", ".*", "(?i)API", "d.", ""], "instance": ["[ab]", "a|c", "^b$", ".+"], "code": ["2..", "[45]00", "40?.*"],
           "le": ["1.*", "[0-9.]+", ".*Inf"]}
MATH = ["abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg", "exp", "floor", "ln", "log10", "log2", "rad", "sgn",
        "sin", "sinh", "sqrt", "tan", "tanh"]
TIMES = ["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"]
RANGES = ["absent_over_time", "avg_over_time", "changes", "count_over_time", "delta", "deriv", "first_over_time", "idelta", "increase", "irate",
          "last_over_time", "mad_over_time", "max_over_time", "min_over_time", "present_over_time", "rate", "resets", "stddev_over_time",
          "stdvar_over_time", "sum_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time"]
HISTOGRAMS = ["histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]
ARITHMETIC = ["+", "-", "*", "/", "%", "^", "atan2"]
COMPARISON = ["==", "!=", ">", "<", ">=", "<="]
SETS = ["and", "or", "unless"]


class Grammar:
    """Makes expressions; `wild` is how often types are mistaken on purpose."""

    def __init__(self, rng, wild=0.01):
        self.rng, self.wild = rng, wild

    def pick(self, *choices):
        """One of (weight, function) pairs, called."""
        return self.rng.choices([c[1] for c in choices], [c[0] for c in choices])[0]()

    def maybe(self, chance, make):
        return make() if self.rng.random() < chance else ""

    def any(self, depth):
        """An expression of a kind that may stand alone."""
        return self.pick((88, lambda: self.vector(depth)), (8, lambda: self.scalar(depth)), (3, lambda: self.matrix(depth)), (1, self.string))

    def of(self, kind, depth):
        if self.rng.random() < self.wild:
            kind = self.rng.choice(KINDS)
        return {SCALAR: self.scalar, VECTOR: self.vector, MATRIX: self.matrix, STRING: lambda _: self.string()}[kind](depth)

    # Literals.

    def number(self):
        rng = self.rng
        text = self.pick(
            (5, lambda: str(rng.randrange(-3, 12))), (3, lambda: repr(round(rng.uniform(-5, 20), 2))),
            (1, lambda: rng.choice(["Inf", "-Inf", "NaN", "1e3", "0x1F", "1e-5", ".5", "5.", "0", "-0", "1e400", "007", "1_000", "0b11", "1m", "1h30m", "0.1s"])))
        return Node(SCALAR, text)

    def string(self):
        return Node(STRING, self.rng.choice(['"x"', "'y z'", "`raw\\n`", '"\\u00fc\\n"', '""', '"\\""']))

    def seconds(self, low, high):
        rng = self.rng
        n = rng.choice([low, rng.randrange(low, high), rng.randrange(low, high) // 30 * 30 or 30, 60, 120, 300, 300, 600])
        return n

    def duration(self, low=1, high=900):
        """A positive duration, sometimes an expression."""
        n = self.seconds(low, high)
        return self.pick(
            (12, lambda: f"{n}s" if n % 60 else f"{n // 60}m"), (1, lambda: f"{n}"), (1, lambda: f"{n * 1000 + 1}ms"), (1, lambda: f"{n}.5"),
            (1, lambda: f"{n}s+30s"), (1, lambda: f"({n}*2)"), (1, lambda: f"{n}s-1ms"), (0.4, lambda: "step()+1"), (1, lambda: f"max_of(step(), {n}s)"),
            (0.7, lambda: f"min_of(range()+300, {n})"), (0.5, lambda: f"{n} % 7m"), (0.5, lambda: f"{n}s/3"), (0.3, lambda: "2m^1"), (0.2, lambda: "0s"),
            (0.2, lambda: "-5m"), (0.2, lambda: "step()"), (0.2, lambda: "range()"), (0.1, lambda: "1m/0"))

    # Selectors.

    def matcher(self):
        rng = self.rng
        name = rng.choice(list(VALUES) + ["job", "instance"] * 10)
        op = rng.choice(["=", "!=", "=~", "!~"])
        values = REGEXES.get(name, VALUES[name]) if "~" in op else VALUES[name]
        return f'{name}{op}"{rng.choice(values)}"'

    def name(self, family=None):
        rng = self.rng
        family = family or self.pick((5, lambda: COUNTERS), (5, lambda: GAUGES), (4, lambda: NATIVE), (3, lambda: BOTH), (1, lambda: CLASSIC))
        return rng.choice(family)

    def bare(self, family=None):
        """A selector without modifiers, as parts."""
        rng = self.rng
        matchers = [self.matcher() for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2]))]
        braces = [Option("{", ",".join(matchers), "}")] if matchers else []
        plain = lambda: (self.name(family), *braces)
        return self.pick(
            (30, plain), (1, lambda: ('{"', self.name(family), '"', *[f",{m}" for m in matchers], "}")),
            (1, lambda: ('{__name__=~"', rng.choice(["temp|load", "nh.*", "latency.*", "mixed.*|either", "requests_total|errors_total", ".*_total", "level|version"]), '"',
                         *[f",{m}" for m in matchers], "}")),
            (0.7, lambda: ('{"utf8.größe"', rng.choice(["", ',"service.name"!=""', ',"service.name"="x y"', ",job=~'.+'"]), "}")),
            (0.3, lambda: ("nothing",)), (0.3, lambda: ('{job="api",instance="a"}',)), (0.1, lambda: ('{job=~".*"}',)))

    def at(self):
        rng = self.rng
        seconds = START // 1000 + rng.choice([300, 1000, 1500, 2000, rng.randrange(-400, 3600)])
        return self.pick((6, lambda: f" @ {seconds}"), (1, lambda: f" @ {seconds}.123"), (2, lambda: " @ start()"), (2, lambda: " @ end()"), (0.1, lambda: " @ -5"))

    def times(self):
        """`offset` and `@`, optional parts."""
        rng = self.rng
        offset = lambda: Option(" offset ", self.pick(
            (6, lambda: rng.choice(["30s", "1m", "5m", "7s", "10m", "1ms"])), (2, lambda: "-" + rng.choice(["30s", "3m", "1ms"])), (1, lambda: rng.choice(["step()", "-step()", "(2*30s)", "(1m+step())",
            "max_of(step(),1m)", "range()", "-range()", "30", "-(1m)", "0s", "+30s", "step()*2", "5m+1m"]))))
        at = lambda: Option(self.at())
        parts = [self.maybe(0.15, offset), self.maybe(0.1, at)]
        rng.shuffle(parts)
        return [p for p in parts if p != ""]

    def selector(self, family=None):
        extended = [Option(self.rng.choice([" smoothed", " anchored"]))] if self.rng.random() < 0.03 else []
        return Node(VECTOR, *self.bare(family), *extended, *self.times())

    def range_selector(self, family=None, low=1, high=900, extended=0.02):
        words = [Option(self.rng.choice([" smoothed", " anchored"]))] if self.rng.random() < extended else []
        return Node(MATRIX, *self.bare(family), "[", self.duration(low, high), "]", *words, *self.times())

    def subquery(self, depth):
        step = self.pick((3, lambda: ""), (5, lambda: self.rng.choice(["30s", "1m", "10s", "45s", "2m", "7s", "step()", "30", "15s+15s"])))
        kind = self.rng.random()
        inner = self.vector(depth - 1) if kind < 0.8 else self.twins() if kind < 0.93 else self.scalar(depth - 1)
        bracket = inner if self.rng.random() < 0.3 and len(inner.parts) < 3 else Node(inner.kind, "(", inner, ")")
        return Node(MATRIX, bracket, "[", self.rng.choice(["5m", "2m", "10m", "90s", "31s", "3m+30s"]), ":", step, "]", *self.times())

    def matrix(self, depth, family=None, extended=0.02):
        if depth > 1 and self.rng.random() < 0.2:
            return self.subquery(depth)
        return self.range_selector(family, extended=extended)

    def twins(self):
        """Two forms of the same series: where one has no sample, the other goes on."""
        series = Node(VECTOR, *self.bare())
        form = lambda: self.pick(
            (2, lambda: series), (3, lambda: Node(VECTOR, series, " ", self.rng.choice([">", "<", "!="]), " ", self.number())), (2, lambda: Node(VECTOR, "2 * ", series)),
            (2, lambda: Node(VECTOR, series, " offset ", self.rng.choice(["1m", "30s", "-1m"]))), (1, lambda: Node(VECTOR, "-", series)),
            (1, lambda: Node(VECTOR, "last_over_time(", series, "[1m])")), (1, lambda: Node(VECTOR, series, self.at())))
        return Node(VECTOR, "(", form(), " or ", form(), ")")

    # Scalars.

    def scalar(self, depth):
        if depth <= 0 or self.rng.random() < 0.4:
            return self.number()
        rng, s = self.rng, lambda: self.of(SCALAR, depth - 1)
        return self.pick(
            (2, lambda: Node(SCALAR, "scalar(", self.vector(depth - 1), ")")), (1, lambda: Node(SCALAR, rng.choice(["time()", "pi()", "step()", "range()", "start()", "end()"]))),
            (3, lambda: Node(SCALAR, "(", s(), " ", rng.choice(ARITHMETIC), " ", s(), ")")), (1, lambda: Node(SCALAR, s(), " ", rng.choice(COMPARISON), " bool ", s())),
            (1, lambda: Node(SCALAR, rng.choice("-+"), s())), (1, lambda: Node(SCALAR, rng.choice(["min_of", "max_of"]), "(", s(), ", ", s(), ")")),
            (0.1, lambda: Node(SCALAR, s(), " ", rng.choice(COMPARISON), " ", s())))

    # Vectors.

    def vector(self, depth, family=None):
        if depth <= 0:
            return self.selector(family)
        d = depth - 1
        return self.pick(
            (8, lambda: self.selector(family)), (16, lambda: self.range_call(d)), (18, lambda: self.aggregation(d)), (22, lambda: self.binary(d)),
            (6, lambda: self.math(d)), (9, lambda: self.histogram_call(d)), (4, lambda: self.label_call(d)), (3, lambda: self.sort(d)), (2, lambda: self.info(d)),
            (2, lambda: self.time_call(d)), (2, lambda: Node(VECTOR, self.rng.choice("-+"), self.vector(d))), (2, lambda: Node(VECTOR, "vector(", self.of(SCALAR, d), ")")),
            (2, lambda: Node(VECTOR, "(", self.vector(d), ")")), (2, lambda: Node(VECTOR, "absent(", self.of(VECTOR, d), ")")), (1, self.twins))

    def call(self, name, *args, kind=VECTOR):
        parts = []
        for at, arg in enumerate(args):
            parts += [", " if at else "", arg]
        if self.rng.random() < self.wild / 2:
            parts.append(Option(", ", self.of(self.rng.choice(KINDS), 0)))
        return Node(kind, name, "(", *parts, ")")

    def range_call(self, depth):
        rng = self.rng
        fn = rng.choice(RANGES + ["quantile_over_time", "predict_linear", "double_exponential_smoothing", "rate", "increase", "extended", "extended"])
        family = rng.choice([None, None, COUNTERS, NATIVE]) if fn in ("rate", "increase", "irate", "resets") else None
        if fn == "extended":
            word = rng.choice([" smoothed", " anchored"])
            fns = ["rate", "increase", "delta"] + (["changes", "resets"] if word == " anchored" or rng.random() < 0.05 else [])
            inner = Node(MATRIX, *self.bare(rng.choice([COUNTERS, COUNTERS, GAUGES, None])), "[", self.duration(), "]", word, *self.times())
            return self.call(rng.choice(fns), inner)
        m = self.of(MATRIX, depth) if rng.random() < 0.2 else self.matrix(depth, family)
        if fn == "quantile_over_time":
            return self.call(fn, self.quantile(depth), m)
        if fn == "predict_linear":
            return self.call(fn, m, self.of(SCALAR, depth - 1))
        if fn == "double_exponential_smoothing":
            factor = lambda: Node(SCALAR, rng.choice(["0.1", "0.5", "0.9", "0.3", "0", "1", "1.5", "-1", "NaN"] if rng.random() < 0.1 else ["0.1", "0.5", "0.9", "0.3"]))
            return self.call(fn, m, factor(), factor())
        return self.call(fn, m)

    def quantile(self, depth):
        if self.rng.random() < 0.1:
            return self.of(SCALAR, depth - 1)
        return Node(SCALAR, self.rng.choice(["0.5", "0.9", "0.99", "0", "1", "0.25", "-1", "2", "NaN", "1e-9", "0.1"]))

    def labels(self):
        rng = self.rng
        names = rng.sample(LABELS, rng.choice([0, 1, 1, 1, 2, 2, 3]))
        return ", ".join(names + ([] if rng.random() > 0.02 else ['"service.name"']))

    def grouping(self):
        if self.rng.random() < 0.35:
            return ""
        return Option(self.rng.choice([" by (", " by (", " without ("]), self.labels(), ") ")

    def aggregation(self, depth):
        rng = self.rng
        op = rng.choice(AGGREGATIONS * 2 + ["sum", "avg", "topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"])
        param = []
        if op in ("topk", "bottomk", "limitk"):
            param = [rng.choice(["1", "2", "3", "5", "0", "100"]) if rng.random() < 0.85 else self.of(SCALAR, depth - 1), ", "]
        elif op == "quantile":
            param = [self.quantile(depth), ", "]
        elif op == "limit_ratio":
            param = [rng.choice(["0.5", "-0.5", "0.1", "-0.3", "1", "0", "-1", "0.77"]) if rng.random() < 0.85 else self.of(SCALAR, depth - 1), ", "]
        elif op == "count_values":
            param = [rng.choice(['"value"', '"job"', '"instance"', '"a.b"', '"__name__"', '""']) if rng.random() < 0.9 else self.of(STRING, 0), ", "]
        inner, grouping = self.of(VECTOR, depth), self.grouping()
        parts = [grouping, "(", *param, inner, ")"] if rng.random() < 0.7 else ["(", *param, inner, ")", grouping]
        return Node(VECTOR, op, *[p for p in parts if p != ""])

    def math(self, depth):
        rng = self.rng
        v, s = self.of(VECTOR, depth), lambda: self.of(SCALAR, depth - 1)
        fn = rng.choice(MATH + ["clamp", "clamp_min", "clamp_max", "round", "round", "clamp"])
        if fn == "clamp":
            return self.call(fn, v, s(), s())
        if fn in ("clamp_min", "clamp_max") or fn == "round" and rng.random() < 0.7:
            return self.call(fn, v, s())
        return self.call(fn, v)

    def buckets(self, depth):
        """Something to take quantiles of."""
        rng = self.rng
        v = lambda: self.selector(rng.choice([NATIVE, NATIVE, BOTH, CLASSIC]))
        rate = lambda: self.call(rng.choice(["rate", "increase", "delta", "sum_over_time", "avg_over_time", "last_over_time"]), self.range_selector(rng.choice([NATIVE, CLASSIC, BOTH]), 60, 900))
        inner = self.pick((3, v), (3, rate), (1, lambda: self.of(VECTOR, depth)))
        if rng.random() < 0.4:
            return Node(VECTOR, rng.choice(["sum", "avg", "sum"]), Option(rng.choice([" by (le) ", " by (le, job) ", " without (instance) ", " by (job) ", " "])), "(", inner, ")")
        return inner

    def histogram_call(self, depth):
        rng = self.rng
        b = self.buckets(depth)
        fn = rng.choice(HISTOGRAMS + ["histogram_quantile"] * 3 + ["histogram_fraction"] * 2 + ["histogram_quantiles", "trim", "trim"])
        if fn == "histogram_quantile":
            return self.call(fn, self.quantile(depth), b)
        if fn == "histogram_fraction":
            bound = lambda: Node(SCALAR, rng.choice(["0", "1", "2.5", "-1", "-Inf", "Inf", "NaN", "5", "0.7", "100"])) if rng.random() < 0.9 else self.of(SCALAR, depth - 1)
            return self.call(fn, bound(), bound(), b)
        if fn == "histogram_quantiles":
            label = rng.choice(['"q"', '"quantile"', '"job"', '"a.b"'])  # an empty one is a runtime error of Prometheus
            return self.call(fn, b, label, *[self.quantile(depth) for _ in range(rng.choice([1, 2, 3]))])
        if fn == "trim":
            bound = Node(SCALAR, rng.choice(["1", "0", "2.5", "-1", "3", "Inf", "-Inf", "NaN", "0.0001"])) if rng.random() < 0.8 else self.of(SCALAR, depth - 1)
            return Node(VECTOR, b, " ", rng.choice(["</", ">/"]), " ", bound)
        return self.call(fn, b)

    def label_call(self, depth):
        rng, v = self.rng, self.of(VECTOR, depth)
        name = lambda: rng.choice(['"job"', '"instance"', '"new"', '"env"', '"code"', '"__name__"', '"a.b"', '"missing"', '"le"'] + (['""', '"\\xff"'] if rng.random() < 0.05 else []))
        if rng.random() < 0.35:
            return self.call("label_join", v, name(), rng.choice(['","', '""', '"-"']), *[name() for _ in range(rng.choice([0, 1, 2, 3]))])
        replacement = rng.choice(['"$1"', '"x"', '"${1}-y"', '""', '"$0$2"', '"$name"', '"$$"', '"${name}"'])
        regex = rng.choice(['"(.*)"', '"(a).*"', '"([a-z])(.*)"', '""', '".+"', '"(?P<name>.*)"', '"nomatch"', '"api|db"', '"(.)?(.)?.*"'] + (['"("'] if rng.random() < 0.05 else []))
        return self.call("label_replace", v, name(), replacement, name(), regex)

    def sort(self, depth):
        rng, v = self.rng, self.of(VECTOR, depth)
        fn = rng.choice(["sort", "sort_desc", "sort_by_label", "sort_by_label_desc"])
        names = [rng.choice(['"job"', '"instance"', '"code"', '"missing"', '"le"', '"__name__"']) for _ in range(rng.choice([1, 1, 2, 0]))] if "label" in fn else []
        return self.call(fn, v, *names)

    def info(self, depth):
        rng = self.rng
        selector = rng.choice(["{}", "{region=~'.+'}", "{__name__='build_info'}", '{__name__=~".+_info"}', "{data!=''}", "{data='x'}", "{__name__=~'target_info|build_info', build=~'.*'}", "{version=~'.*'}",
                               "{__name__!='target_info'}", "{region='nowhere'}", "{job='api'}", "target_info"])
        inner = self.of(VECTOR, depth) if rng.random() < 0.5 else self.vector(0)
        return self.call("info", inner, *([selector] if rng.random() < 0.7 else []))

    def time_call(self, depth):
        rng = self.rng
        if rng.random() < 0.5:
            return self.call(rng.choice(["timestamp", "timestamp", "start_timestamp"]), self.of(VECTOR, depth if rng.random() < 0.5 else 0))
        return self.call(rng.choice(TIMES), *([self.of(VECTOR, depth)] if rng.random() < 0.8 else []))

    # Binary operators.

    def matching(self):
        rng = self.rng
        on = rng.choice(["", "", "on", "on", "ignoring"])
        if not on:
            return [], True
        labels = rng.choice(["job, instance", "instance", "job", "job,instance,code", ""]) if on == "on" else rng.choice(["code", "env", "code, env", "version", "le, code", "__type__,__unit__"])
        out = [f" {on}({labels})"]
        if rng.random() < 0.35:
            out.append(Option(rng.choice([" group_left", " group_left", " group_right"]), rng.choice(["", "()", "(version)", "(region, data)", "(env)", "(job)"] if rng.random() < 0.9 else ["(instance)", "(__name__)"])))
        return out, False

    def fill(self):
        rng = self.rng
        v = lambda: rng.choice(["0", "1", "NaN", "-5", "Inf", "2.5"])
        return rng.choice([f" fill({v()})", f" fill_left({v()})", f" fill_right({v()})", f" fill_left({v()}) fill_right({v()})"])

    def binary(self, depth):
        rng = self.rng
        kind = rng.random()
        wrap = lambda n: n if rng.random() < 0.5 else Node(n.kind, "(", n, ")")
        if kind < 0.3:
            sides = [self.of(VECTOR, depth), self.of(SCALAR, depth)]
            rng.shuffle(sides)
            op = rng.choice(ARITHMETIC + COMPARISON + ["*", "/"])
            modifier = " bool" if op in COMPARISON and rng.random() < 0.3 else ""
            return Node(VECTOR, wrap(sides[0]), f" {op}{modifier} ", wrap(sides[1]))
        left = self.of(VECTOR, depth)
        if kind < 0.5:
            right = Node(VECTOR, left, " * 2") if rng.random() < 0.3 else Node(left.kind, *left.parts) if rng.random() < 0.3 else self.of(VECTOR, depth)
        elif kind < 0.7:
            left, right = self.of(VECTOR, min(depth, 1)), self.selector(rng.choice([["info_metric"], ["target_info"], ["load"], ["temp"], ["up"], NATIVE]))
        else:
            family = rng.choice([NATIVE, GAUGES[:4], BOTH, COUNTERS[:3], GAUGES])
            left, right = self.vector(0, family), self.vector(0, family)
        if rng.random() < 0.2:
            matching, _ = self.matching()
            matching = [m for m in matching if not isinstance(m, Option) or rng.random() < 0.03]
            return Node(VECTOR, wrap(left), f" {rng.choice(SETS)}", *[Option(m) for m in matching], " ", wrap(right))
        op = rng.choice(ARITHMETIC + COMPARISON + ["+", "-"])
        modifier = Option(" bool") if op in COMPARISON and rng.random() < 0.3 else ""
        matching, _ = self.matching()
        fill = [Option(self.fill())] if rng.random() < 0.15 else []
        return Node(VECTOR, wrap(left), f" {op}", *([modifier] if modifier else []), *matching, *fill, " ", wrap(right))


def times(rng):
    """When to evaluate: the parameters of an instant or of a range query."""
    start = START // 1000
    if rng.random() < 0.45:
        t = start + rng.choice([rng.randrange(-100, COUNT * STEP // 1000 + 400), rng.randrange(0, COUNT * STEP // 1000, 30), rng.randrange(300, 2700), 1500])
        return {"time": f"{t}" if rng.random() < 0.8 else f"{t}.{rng.randrange(1000):03d}"}
    t = start + rng.choice([0, -300, 600, 1200, 1500, rng.randrange(300, 2500), rng.randrange(-400, 3000)])
    steps, step = rng.choice([0, 1, 3, 10, 20, 40]), rng.choice(["15", "30", "60", "7", "45", "100", "300", "0.5", "1m", "30.001"])
    if rng.random() < 0.01:
        steps = 2500  # enough for an evaluation in slices
    seconds = 60.0 if step == "1m" else float(step)
    end = t + steps * seconds + rng.choice([0, 0, 0.4 * seconds])
    return {"start": f"{t}", "end": f"{end:.3f}", "step": step}


def query(rng, wild=0.01):
    """A random expression and its parameters."""
    params = times(rng)
    grammar = Grammar(rng, wild)
    depth = rng.choice([1, 2, 2, 3, 3, 4, 5])
    tree = grammar.any(depth)
    if "start" in params and tree.kind in (MATRIX, STRING) and rng.random() < 0.9:
        params = {"time": params["start"]}
    if rng.random() < 0.04:
        params["lookback_delta"] = rng.choice(["1m", "29s", "30s", "600", "1ms"])
    return tree, params
