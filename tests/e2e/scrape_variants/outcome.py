"""What a scraper made of the targets: samples of each scrape, samples with their own time, exemplars, metadata and the page of targets."""
import collections
import json
import re
import urllib.parse
import urllib.request

from scrape_variants import remote_read
from scrape_variants.variants import SCRAPES

# Classes of errors: what each says in some form.
ERRORS = [
    ("timeout", r"context deadline exceeded|timed out|timeout"),
    ("certificate", r"x509|certificate|unknown issuer|UnknownIssuer|not valid for name"),
    ("TLS", r"tls:(?! tls handshake eof)|TLS"),
    ("status", r"server returned HTTP status|HTTP status"),
    ("body size", r"body size limit"),
    ("sample limit", r"sample limit exceeded"),
    ("bucket limit", r"histogram bucket limit"),
    ("label limit", r"label_(limit|name_length_limit|value_length_limit)"),
    ("content type", r"[Cc]ontent-?[ Tt]ype|media type|fallback_scrape_protocol"),
    ("redirect", r"redirect|Location|unsupported protocol scheme"),
]


def ask(url, path, **params):
    query = "?" + urllib.parse.urlencode(params, doseq=True) if params else ""
    with urllib.request.urlopen(f"{url}{path}{query}", timeout=60) as reply:
        return json.loads(reply.read().decode(errors="replace"))["data"]


def error_class(text):
    if not text:
        return "none"
    return next((name for name, pattern in ERRORS if re.search(pattern, text)), "other")


def show(labels):
    return "{" + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(labels.items())) + "}"


def read(url, targets, scraper, base):
    """The outcomes by variant, in a form that is equal for scrapers that do the same."""
    ports = {str(port): name for (who, name), port in targets.ports.items() if who == scraper}
    neutral = lambda text: re.sub(r"127\.0\.0\.1:(\d+)", lambda found: "127.0.0.1:" + ports.get(found[1], found[1]), text)
    outcomes = {str(index): empty() for index in targets.variants}
    series = collections.defaultdict(list)
    for labels, samples in remote_read.read_all(url, "variant", base - 3_600_000, base + 3_600_000):
        series[labels["variant"]].append((labels, samples))
    for index, found in series.items():
        if index in outcomes:
            read_samples(outcomes[index], found, base, neutral)
    for item in ask(url, "/api/v1/query_exemplars", query='{variant=~".+"}', start=base / 1000 - 3600, end=base / 1000 + 3600):
        index = item["seriesLabels"]["variant"]
        for exemplar in item["exemplars"]:
            at = round(float(exemplar["timestamp"]) * 1000)
            text = f"{neutral(show(item['seriesLabels']))} # {show(exemplar['labels'])} {exemplar['value']} "
            add_timed(outcomes[index], at, text, "exemplars", base)
    for target in ask(url, "/api/v1/targets", state="active")["activeTargets"]:
        index = target["labels"]["variant"]
        outcomes[index]["target"] = {
            "health": target["health"], "error": error_class(target["lastError"]), "labels": neutral(show(target["labels"])), "discovered": neutral(show(target["discoveredLabels"])),
            "url": neutral(target["scrapeUrl"]), "interval": target["scrapeInterval"], "timeout": target["scrapeTimeout"]}
        outcomes[index]["text of the error"] = neutral(target["lastError"])
    for item in ask(url, "/api/v1/targets/metadata"):
        index = item["target"].get("variant")
        outcomes[index]["metadata"].append(f"{item['metric']} {item['type']} {item['unit']} {item['help']}")
    for index, outcome in outcomes.items():
        outcome["requests"] = sorted(targets.requests[scraper, int(index)])
        for part in ("samples with times", "exemplars with times", "metadata"):
            outcome[part].sort()
    return outcomes


def empty():
    return {"times": [], "scrapes": [], "samples with times": [], "exemplars with times": [], "metadata": [], "target": None, "text of the error": ""}


def read_samples(outcome, series, base, neutral):
    """Sorts the samples into the scrapes that they belong to. The series `up` shows when these were."""
    ups = [samples for labels, samples in series if labels["__name__"] == "up" and {"job", "instance"} <= set(labels)]
    outcome["times"] = sorted({at for samples in ups for at, _ in samples if at > base})
    outcome["scrapes"] = [{"samples": [], "exemplars": []} for _ in outcome["times"][:SCRAPES]]
    for labels, samples in series:
        name = neutral(show(labels))
        for at, value in samples:
            if labels["__name__"] == "scrape_duration_seconds" and value != "stale":
                value = "any"
            add_timed(outcome, at, f"{name} {relative(value, base)}", "samples", base)
    for scrape in outcome["scrapes"]:
        scrape["samples"].sort()


def relative(value, base):
    """A value; one that is a time as the distance from `base`, because recordings are compared at other times."""
    try:
        seconds = float(value) - base / 1000
    except ValueError:
        return value
    return f"base{seconds:+.3f}" if abs(seconds) < 100_000 else value


def add_timed(outcome, at, text, kind, base):
    """Adds a sample or an exemplar to its scrape, or to those with a time of their own."""
    if at not in outcome["times"]:
        outcome[f"{kind} with times"].append(f"{text} @{at - base}")
    elif (number := outcome["times"].index(at)) < SCRAPES:
        outcome["scrapes"][number][kind].append(text)


def is_complete(outcome):
    return len(outcome["times"]) > SCRAPES


# Counts that depend on how far a parser came.
COUNTS = ("scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added")


def is_down(scrape):
    return any(line.startswith('{__name__="up"') and line.endswith(" 0.0") for line in scrape["samples"])


def is_marker(line):
    return line.endswith(("} stale", "} stale histogram"))


def settle_markers(ours, theirs):
    """Removes differences of stale markers that are intended.

    When a scrape fails half-way, Prometheus writes no markers for the series that it had read until then, and writes them after the next scrape. We write them at
    once. And a marker that follows another one, or nothing, tells nothing.
    """
    for our, their in zip(ours["scrapes"], theirs["scrapes"]):
        if is_down(their):
            written = {line for line in our["samples"] if is_marker(line)}
            their["samples"] = sorted({*their["samples"], *written})
    for side in (ours, theirs):
        live = {line.rsplit(" @", 1)[0].rsplit("} ", 1)[0] for line in side["samples with times"]}
        for scrape in side["scrapes"]:
            kept = [line for line in scrape["samples"] if not is_marker(line) or line.rsplit("} ", 1)[0] in live]
            for line in kept:
                name = line.rsplit("} ", 1)[0]
                live.discard(name) if is_marker(line) else live.add(name)
            scrape["samples"] = kept


def settle_counts(ours, theirs, variant):
    """Removes differences of counts that are intended: those of pages that cannot be read, and of samples that are refused for their time."""
    failed = False
    if variant.is_odd_page and any(map(is_down, theirs["scrapes"])):
        ours["metadata"] = theirs["metadata"]
    for our, their in zip(ours["scrapes"], theirs["scrapes"]):
        is_malformed = is_down(our) and is_down(their) and variant.is_odd_page
        left_out = COUNTS if is_malformed else COUNTS[2:] if variant.has_times or failed else ()
        failed = is_malformed
        for scrape in (our, their):
            scrape["samples"] = [line for line in scrape["samples"] if not any(line.startswith(f'{{__name__="{name}"') for name in left_out)]
    if variant.has_times:
        for our, their in zip(ours["scrapes"], theirs["scrapes"]):
            both = {*our["samples"]} & {*their["samples"]}
            for scrape in (our, their):
                scrape["samples"] = [line for line in scrape["samples"] if not is_marker(line) or line in both]
        for our, their in [*zip([scrape["exemplars"] for scrape in ours["scrapes"]], [scrape["exemplars"] for scrape in theirs["scrapes"]]), (ours["exemplars with times"], theirs["exemplars with times"])]:
            our[:] = [line for line in our if line in their]
    # Go reads where a redirect leads even if it is not followed.
    if (variant.is_odd_page or not variant.follows) and ours["target"] and theirs["target"] and "none" not in (ours["target"]["error"], theirs["target"]["error"]):
        ours["target"]["error"] = theirs["target"]["error"]


def differences(ours, theirs, variant):
    """The parts in which two outcomes differ, as texts."""
    found = []
    settle_markers(ours, theirs)
    settle_counts(ours, theirs, variant)
    for number, (our, their) in enumerate(zip(ours["scrapes"], theirs["scrapes"])):
        for part in ("samples", "exemplars"):
            found += difference(f"scrape {number}", our[part], their[part])
    if len(ours["scrapes"]) != len(theirs["scrapes"]):
        found.append(f"scrapes: ours {len(ours['scrapes'])}, theirs {len(theirs['scrapes'])}")
    for part in ("samples with times", "exemplars with times", "metadata", "requests"):
        found += difference(part, ours[part], theirs[part])
    if ours["target"] != theirs["target"]:
        for key in ours["target"] or {}:
            our, their = ours["target"][key], (theirs["target"] or {}).get(key)
            if our != their:
                found.append(f"target {key}:\n    ours   {our}\n    theirs {their}")
    if found:
        found.append(f"errors:\n    ours   {ours['text of the error']}\n    theirs {theirs['text of the error']}")
    return found


def difference(title, ours, theirs):
    only_ours, only_theirs = collections.Counter(ours) - collections.Counter(theirs), collections.Counter(theirs) - collections.Counter(ours)
    lines = [f"    ours   {line}" for line in list(only_ours)[:6]] + [f"    theirs {line}" for line in list(only_theirs)[:6]]
    return [title + ":\n" + "\n".join(lines)] if lines else []
