"""The scrape configuration of a target: a few random settings."""

PROTOCOLS = ["PrometheusText0.0.4", "PrometheusText1.0.0", "OpenMetricsText0.0.1", "OpenMetricsText1.0.0", "PrometheusProto"]
RELABELLING = [
    {"action": "drop", "source_labels": ["__name__"], "regex": "a|m_.*"},
    {"action": "keep", "source_labels": ["__name__"], "regex": "[a-m].*"},
    {"action": "labeldrop", "regex": "a|code|ex.*"},
    {"action": "labelkeep", "regex": "__name__|variant|job|instance|le|quantile|b"},
    {"action": "labelmap", "regex": "(a|b)", "replacement": "mapped_$1"},
    {"action": "lowercase", "source_labels": ["method"], "target_label": "method"},
    {"action": "uppercase", "source_labels": ["path", "a"], "target_label": "upper"},
    {"action": "hashmod", "source_labels": ["__name__", "a"], "modulus": 7, "target_label": "shard"},
    {"action": "replace", "source_labels": ["__name__"], "regex": "(.)(.*)", "replacement": "${2}${1}", "target_label": "__name__"},
    {"action": "replace", "source_labels": ["a"], "regex": "(.+)", "target_label": "__name__"},
    {"action": "replace", "source_labels": ["b"], "separator": "", "regex": "", "replacement": "none", "target_label": "b"},
    {"action": "replace", "target_label": "__name__", "replacement": ""},
    {"action": "replace", "target_label": "code", "replacement": "same"},
    {"action": "dropequal", "source_labels": ["a"], "target_label": "b"},
    {"action": "keepequal", "source_labels": ["job"], "target_label": "job"},
    {"action": "replace", "source_labels": ["__name__", "le"], "separator": ";", "regex": "(.*)_bucket;(.+)", "replacement": "$2", "target_label": "bound"},
    {"action": "replace", "regex": "(.*)", "source_labels": ["path"], "target_label": "ü.x", "replacement": "p:$1"},
    {"action": "replace", "source_labels": ["b"], "regex": "(?i)GET|(x)", "replacement": "${1}y", "target_label": "${1}z"},
]
TARGET_RELABELLING = [
    {"target_label": "__param_name", "replacement": "a b&c=d/ü"},
    {"source_labels": ["__address__"], "target_label": "instance", "regex": ".*", "replacement": "renamed"},
    {"target_label": "job", "replacement": "another"},
    {"source_labels": ["__metrics_path__"], "target_label": "path"},
    {"source_labels": ["__scrape_timeout__"], "target_label": "timeout"},
    {"target_label": "a", "replacement": "from the target"},
    {"target_label": "le", "replacement": "7"},
    {"target_label": "__tmp", "replacement": "x"},
    {"target_label": "empty", "replacement": ""},
    {"target_label": "__name__", "replacement": "named"},
]
QUERIES = ["", "", "?x=1", "?", "#part", "%41", "%2F..", "/../x", "//", "/a b", "/ü", "/%", "/|[]\\^", "/a;b", "/'\"<>", "/%zz", "/.", "/a:b@c"]
PARAMS = [{"a": ["b"]}, {"b": ["2", "1"], "a": [""]}, {"match[]": ['{job="x"}']}, {"ü": ["ö &=+%"]}]
CREDENTIALS = [
    {"basic_auth": {"username": "u", "password": "p:ü"}}, {"basic_auth": {"username": "", "password": "p"}}, {"authorization": {"credentials": "token"}}, {"authorization": {"type": "Custom", "credentials": "a b"}},
    {"http_headers": {"X-Extra": {"values": ["a", "b"]}}}, {"http_headers": {"X-Extra": {"secrets": ["c"]}, "x-lower": {"values": [""]}}}, {"bearer_token": "old"},
]


def make_settings(rng, index, native):
    """A job without its targets. `native` targets show protobuf."""
    job = {"job_name": f"v{index}", "scrape_interval": "2s", "scrape_timeout": "1500ms", "metrics_path": f"/v/{index}" + (rng.choice(QUERIES) if rng.random() < 0.2 else "")}

    def maybe(chance, key, *values):
        if rng.random() < chance:
            job[key] = rng.choice(values)
    maybe(0.2, "honor_labels", True)
    maybe(0.2, "honor_timestamps", False)
    maybe(0.15, "track_timestamps_staleness", True)
    maybe(0.12, "sample_limit", 1, 3, 5, 10, 100)
    maybe(0.08, "label_limit", 3, 4, 5, 8)
    maybe(0.06, "label_name_length_limit", 5, 8, 12)
    maybe(0.06, "label_value_length_limit", 3, 10, 20)
    maybe(0.08, "body_size_limit", "10B", "100B", "200B", "1KB", "10KB", "1MB")
    maybe(0.6 if native else 0.15, "scrape_native_histograms", True)
    maybe(0.25, "always_scrape_classic_histograms", True)
    maybe(0.25, "convert_classic_histograms_to_nhcb", True)
    maybe(0.1 if native else 0.03, "native_histogram_bucket_limit", 1, 3, 8)
    maybe(0.1 if native else 0.03, "native_histogram_min_bucket_factor", 1.2, 2, 10)
    maybe(0.15, "fallback_scrape_protocol", *PROTOCOLS)
    maybe(0.1, "enable_compression", False)
    maybe(0.1, "follow_redirects", False)
    maybe(0.1, "extra_scrape_metrics", True)
    maybe(0.1, "params", *PARAMS)
    maybe(0.1, "metric_relabel_configs", *[[rule] for rule in RELABELLING])
    if rng.random() < 0.15:
        job["metric_relabel_configs"] = rng.sample(RELABELLING, 2)
    if rng.random() < 0.1:
        job["relabel_configs"] = rng.sample(TARGET_RELABELLING, rng.choice([1, 2]))
    if rng.random() < 0.08:
        job["scrape_protocols"] = rng.sample(PROTOCOLS, rng.choice([1, 2, 3]))
    if rng.random() < 0.12:
        scheme = rng.choice(["legacy", "utf8"])
        job["metric_name_validation_scheme"] = scheme
        if scheme == "legacy":
            job["metric_relabel_configs"] = [rule for rule in job.get("metric_relabel_configs", []) if rule.get("target_label", "").isascii()]
        job["metric_name_escaping_scheme"] = rng.choice(["underscores", "dots", "values"] if scheme == "legacy" else ["allow-utf-8", "underscores", "dots", "values"])
    if rng.random() < 0.1:
        job |= rng.choice(CREDENTIALS)
    return job
