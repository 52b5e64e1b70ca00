#!/usr/bin/env python3
"""Receivers beside a real Prometheus: both get the same requests, and the status and what is stored must be equal.

  pushes.py [--variants 300] [--seed 1] [--first 0] [--only 17,23] [--kinds 1,2,otlp] [--record | --recorded]

The requests are of remote write 1.0 and 2.0 and of OTLP, as protobuf and JSON, many of them odd (push_variants/): labels, timestamps, histograms, attributes, headers, encodings
and damage. `--record` keeps what Prometheus does in push_variants/recorded.json.gz, with which `--recorded` compares. Needs prometheus (in $PEERS), but for
`--recorded`.
"""
import collections
import json
import pathlib
import random
import time
import urllib.error
import urllib.request

import comparison
from pharos import Pharos, Service, check, free_port, peer
from push_variants import otlp, remote_write
from scrape_variants import outcome, remote_read

CONFIG = json.dumps({"storage": {"tsdb": {"out_of_order_time_window": "1h"}, "exemplars": {"max_exemplars": 100_000}}})
RECORDING = pathlib.Path(__file__).resolve().parent / "push_variants" / "recorded.json.gz"
STATISTICS = ["x-prometheus-remote-write-samples-written", "x-prometheus-remote-write-histograms-written", "x-prometheus-remote-write-exemplars-written"]


def start_theirs(folder):
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIG)
    command = [peer("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage",
               "--web.enable-remote-write-receiver", "--web.enable-otlp-receiver"]
    return Service(folder, "theirs", command, f"http://127.0.0.1:{port}").start("/-/ready")


def send(url, path, headers, body):
    """Status, statistics and error of a request."""
    request = urllib.request.Request(url + path, body, headers={"Content-Type": "", **headers}, method="POST")
    if "Content-Type" not in headers:
        request.remove_header("Content-type")
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, statistics(reply.headers), answer_text(reply)
    except urllib.error.HTTPError as error:
        return error.code, statistics(error.headers), error.read().decode(errors="replace")[:4000]


def statistics(headers):
    return [int(headers.get(name) or 0) for name in STATISTICS]


def answer_text(reply):
    """The body of a success: of OTLP, whether it was a partial one."""
    body = reply.read()
    is_json = (reply.headers.get("Content-Type") or "").startswith("application/json")
    return body.decode() if is_json else "partialSuccess " + str(body) if body else ""


def stored(url, base):
    """Samples and exemplars by variant."""
    found = collections.defaultdict(list)
    for labels, samples in remote_read.read_all(url, "variant", base - 90_000_000, base + 90_000_000):
        found[labels["variant"]] += [f"{outcome.show(labels)} {value} @{at - base}" for at, value in samples]
    for item in outcome.ask(url, "/api/v1/query_exemplars", query='{variant=~".+"}', start=base / 1000 - 90_000, end=base / 1000 + 90_000):
        for exemplar in item["exemplars"]:
            at = round(float(exemplar["timestamp"]) * 1000) - base
            found[item["seriesLabels"]["variant"]].append(f"{outcome.show(item['seriesLabels'])} # {outcome.show(exemplar['labels'])} {exemplar['value']} @{at}")
    return found


def requests(seed, indexes, kinds, base):
    for index in indexes:
        rng = random.Random(f"{seed}/{index}")
        kind = rng.choice(kinds)
        make = (lambda: otlp.make_request(rng, index, base)) if kind == "otlp" else (lambda: remote_write.make_request(rng, index, base, kind))
        yield index, kind, make()


def differences(kind, our, their, our_samples, their_samples):
    """What differs in answers and samples. Intended is that we store the good parts of a request whose other parts we refuse.

    Prometheus stores nothing of such a request of remote write 1.0, unless only labels are wrong: it leaves such series out in silence. Of such a request of OTLP it stores a part and says
    that all has failed, while we answer with a partial success. We say so, too, if an exemplar of remote write 2.0 is refused.
    """
    said = our[2]
    is_refused = our[0] >= 400 or their[0] >= 400 or "partialSuccess" in our[2]
    is_told = (our[0], their[0]) == (400, 204) and (kind == "1" or said.startswith(("exemplar", "duplicate sample")))
    same_status = our[0] == their[0] or is_told or (kind == "otlp" and their[0] >= 400 and (our[0] == 400 or "partialSuccess" in our[2]))
    found = [] if same_status else [f"status {our[0]} {their[0]}:\n    ours   {our[2]}\n    theirs {their[2]}"]
    # A time twice in a series counts twice there, and so do exemplars that are refused.
    if our[1][:2] != their[1][:2] and "duplicate sample" not in said or our[1][2] != their[1][2] and "exemplar" not in said:
        found.append(f"statistics:\n    ours   {our[1]} {our[2]}\n    theirs {their[1]} {their[2]}")
    if is_refused and kind != "2":
        our_samples = [sample for sample in our_samples if sample in their_samples]
    is_exemplar = lambda line: "} # {" in line
    our_samples = [line for line in our_samples if not is_exemplar(line) or line in their_samples]
    if "exemplar" in said:
        their_samples = [line for line in their_samples if not is_exemplar(line) or line in our_samples]
    return found + outcome.difference("stored", sorted(our_samples), sorted(their_samples))


def send_all(server, sent, base):
    """What a server answers and stores, by variant."""
    answers = {str(index): send(server.url, *request) for index, _, request in sent}
    found = stored(server.url, base)
    return {index: {"answer": answer, "stored": sorted(found[index])} for index, answer in answers.items()}


def beside(folder, seed, indexes, kinds, theirs_of):
    """Compares with what `theirs_of` returns for the requests and their time."""
    base = int(time.time()) * 1000
    sent = list(requests(seed, indexes, kinds, base))
    with Pharos(folder / "ours", CONFIG).start() as server:
        ours = send_all(server, sent, base)
    theirs = theirs_of(sent, base)
    different = {}
    for index, kind, request in sent:
        our, their = ours[str(index)], theirs[str(index)]
        found = differences(kind, our["answer"], their["answer"], our["stored"], their["stored"])
        if found:
            different[index] = f"{index} {kind} {request[1]}\n  {request[2][:600]}\n  " + "\n  ".join(found)
    print("\n".join(different.values()))
    return ours, theirs, different


def of_prometheus(folder):
    def theirs_of(sent, base):
        server = start_theirs(folder)
        try:
            return send_all(server, sent, base)
        finally:
            server.stop()
    return theirs_of


def beside_prometheus(folder, options):
    indexes = [int(index) for index in options.only.split(",")] if options.only else range(options.first, options.first + options.variants)
    _, _, different = beside(folder, options.seed, indexes, options.kinds.split(","), of_prometheus(folder))
    check(not different, f"{len(different)} of {len(indexes)} requests differ: {list(different)}")


def record(folder, options):
    """Keeps what Prometheus makes of the requests that both take alike."""
    kinds = options.kinds.split(",")
    _, theirs, different = beside(folder, options.seed, range(options.first, options.first + options.variants), kinds, of_prometheus(folder))
    kept = {index: outcome for index, outcome in theirs.items() if int(index) not in different}
    comparison.write_recording(RECORDING, {"seed": options.seed, "kinds": kinds, "outcomes": kept})
    print(f"recorded {len(kept)} requests; left out: {list(different)}")


def beside_recording(folder):
    recorded = comparison.read_recording(RECORDING)
    indexes = [int(index) for index in recorded["outcomes"]]
    _, _, different = beside(folder, recorded["seed"], indexes, recorded["kinds"], lambda *_: recorded["outcomes"])
    check(not different, f"{len(different)} of {len(indexes)} requests differ: {list(different)}")


def main():
    kinds = {"default": "1,2,otlp", "help": "kinds of requests, separated by commas"}
    comparison.run(__doc__, "pushes", 300, {"--kinds": kinds}, record,
                   ("pushes are taken as a real Prometheus took them", beside_recording),
                   ("{} pushes are taken as by a real Prometheus", beside_prometheus))


if __name__ == "__main__":
    main()
