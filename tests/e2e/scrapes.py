#!/usr/bin/env python3
"""Scrapes beside a real Prometheus: both scrape the same targets of a seeded server, and everything that they store and show must be equal.

  scrapes.py [--variants 100] [--seed 1] [--first 0] [--round 200] [--only 17,23] [--record | --recorded]

A variant is a target with random settings, certificates, headers, encodings, ends of connections, redirects and expositions in all formats, many of
them odd (scrape_variants/). Samples of six scrapes, stale markers, the series about scrapes, exemplars, metadata, requests and the page of targets are compared. Variants that
differ are run again, alone, because a busy machine delays scrapes. `--record` keeps what Prometheus does in scrape_variants/recorded.json.gz, with which
`--recorded` compares. Needs openssl for targets with TLS and, but for `--recorded`, prometheus (in $PEERS).
"""
import copy
import json
import pathlib
import shutil
import time

import comparison
from pharos import Pharos, Service, check, free_port, peer, wait_for
from scrape_variants import certificates, outcome, server
from scrape_variants.variants import SCRAPES, Variant

# How often variants that differ are run again.
LOOKS = 3
RECORDING = pathlib.Path(__file__).resolve().parent / "scrape_variants" / "recorded.json.gz"

# With a window, Prometheus fails a scrape for one sample that is older.
STORAGE = {"tsdb": {"out_of_order_time_window": "0s"}, "exemplars": {"max_exemplars": 100_000}}


def configuration(variants, targets, scraper):
    return json.dumps({"storage": STORAGE, "scrape_configs": [variant.with_target(targets.ports, scraper) for variant in variants]}, ensure_ascii=False)


def start_ours(folder, config, base):
    # Prometheus waits for five seconds before it scrapes. What timestamps of targets are in order depends on when scrapes are.
    time.sleep(max(0, base / 1000 + 6 - time.time()))
    return Pharos(f"{folder}/ours", config).start()


def start_theirs(folder, config, _):
    home = pathlib.Path(folder) / "theirs"
    home.mkdir(parents=True)
    (home / "prometheus.yml").write_text(config)
    port = free_port()
    command = [peer("prometheus"), f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data", f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    return Service(folder, "theirs", command, f"http://127.0.0.1:{port}").start("/-/ready")


STARTS = {"theirs": start_theirs, "ours": start_ours}


def run_round(folder, seed, indexes, scrapers):
    """Runs variants under the scrapers; returns the variants and the outcomes of each scraper."""
    folder = pathlib.Path(folder)
    folder.mkdir()
    made = certificates.Certificates(folder.parent / "certificates")
    base = int(time.time()) * 1000
    variants = {index: Variant(seed, index, base, made) for index in indexes}
    contexts = {kind: made.server_context(kind) for kind in {variant.tls for variant in variants.values() if variant.tls}}
    targets = server.Targets(variants, scrapers, contexts)
    running, outcomes = {}, {}
    try:
        for scraper in scrapers:
            running[scraper] = STARTS[scraper](folder, configuration(variants.values(), targets, scraper), base)
        for scraper in scrapers:
            def complete():
                outcomes[scraper] = outcome.read(running[scraper].url, targets, scraper, base)
                return all(map(outcome.is_complete, outcomes[scraper].values()))
            time.sleep(max(0, base / 1000 + 2 * SCRAPES + 8 - time.time()))
            wait_for(complete, 60, f"{scraper} has not scraped all targets")
    finally:
        for process in running.values():
            process.stop()
        targets.close()
    return variants, outcomes


def compare(folder, seed, indexes):
    """The variants and their differences, by index."""
    variants, outcomes = run_round(f"{folder}/{indexes[0]}", seed, indexes, list(STARTS))
    return variants, all_differences(variants, outcomes)


def all_differences(variants, outcomes):
    """The differences by index."""
    found = {index: outcome.differences(outcomes["ours"][str(index)], outcomes["theirs"][str(index)], variants[index]) for index in variants}
    return {index: parts for index, parts in found.items() if parts}


def beside_prometheus(folder, options):
    peer("prometheus")
    indexes = list(range(options.first, options.first + options.variants))
    if options.only:
        indexes = [int(index) for index in options.only.split(",")]
    different = {}
    for begin in range(0, len(indexes), options.round):
        part = indexes[begin:begin + options.round]
        _, first = compare(folder, options.seed, part)
        shutil.rmtree(f"{folder}/{part[0]}")
        variants, left = {}, first
        for _ in range(LOOKS):
            if left:
                variants, left = compare(folder, options.seed, list(left))
                shutil.rmtree(f"{folder}/{list(variants)[0]}")
        different |= left
        for index, parts in left.items():
            print(f"{variants[index].describe()}\n  " + "\n  ".join(parts), flush=True)
        print(f"     {begin + len(part)} variants, {len(first)} differ at first, {len(different)} in all", flush=True)
    check(not different, f"{len(different)} of {len(indexes)} variants differ: {sorted(different)}")


def record(folder, options):
    """Keeps what Prometheus does with the first variants of the seed that both take alike."""
    indexes = list(range(options.first, options.first + options.variants))
    variants, outcomes = run_round(f"{folder}/record", options.seed, indexes, list(STARTS))
    kept = copy.deepcopy(outcomes["theirs"])
    different = all_differences(variants, outcomes)
    recorded = {"seed": options.seed, "outcomes": {index: outcome for index, outcome in kept.items() if int(index) not in different}}
    comparison.write_recording(RECORDING, recorded)
    print(f"recorded {len(recorded['outcomes'])} variants; left out: {sorted(different)}")


def beside_recording(folder):
    recorded = comparison.read_recording(RECORDING)
    variants, left = {}, [int(index) for index in recorded["outcomes"]]
    for look in range(1 + LOOKS):
        if left:
            variants, outcomes = run_round(f"{folder}/{look}", recorded["seed"], list(left), ["ours"])
            theirs = {str(index): copy.deepcopy(recorded["outcomes"][str(index)]) for index in left}
            left = all_differences(variants, outcomes | {"theirs": theirs})
    report = "\n".join(f"{variants[index].describe()}\n  " + "\n  ".join(parts) for index, parts in left.items()) if left else ""
    check(not left, f"{len(left)} of {len(recorded['outcomes'])} variants differ: {sorted(left)}\n{report}")


def main():
    comparison.run(__doc__, "scrapes", 100, {"--round": {"type": int, "default": 200}}, record,
                   ("targets are scraped as a real Prometheus did", beside_recording),
                   ("{} targets are scraped as by a real Prometheus", beside_prometheus))


if __name__ == "__main__":
    main()
