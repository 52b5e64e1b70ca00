"""A variant: one target with its configuration, its replies to the first scrapes, and the reply to all others."""
import json
import random

from scrape_variants import bodies
from scrape_variants import certificates
from scrape_variants import settings
from scrape_variants import transports

# Scrapes that are compared. Later ones get the last reply.
SCRAPES = 6


class Variant:
    """The variant of a seed and an index. `base` is the time, in milliseconds, that its timestamps are relative to."""

    def __init__(self, seed, index, base, made_certificates):
        rng = random.Random(f"{seed}/{index}")
        self.index = index
        exporter = bodies.Exporter(rng, base)
        self.tls = rng.choice(certificates.KINDS) if rng.random() < 0.12 else None
        self.ends_reuse = rng.choice([transports.CLOSE, transports.RESET]) if rng.random() < 0.05 else None
        self.job = settings.make_settings(rng, index, exporter.format == bodies.PROTOBUF)
        if self.job.get("convert_classic_histograms_to_nhcb"):
            exporter.simplify_histograms()
        if self.tls:
            self.job |= {"scheme": "https", "tls_config": made_certificates.client_settings(rng, self.tls)}
        usual = rng.choice(transports.USUAL)
        is_odd_transport = not self.tls and rng.random() < 0.35
        odd = rng.choice(transports.ODD)
        self.replies, self.finals = [], []
        for number in range(SCRAPES):
            is_odd = number in (1, 2, 5)
            body = exporter.next(is_odd)
            if is_odd and is_odd_transport:
                self.replies.append(odd(rng, exporter.type, body))
            else:
                self.replies.append(usual(rng, exporter.type, body))
            self.finals.append(transports.plain(rng, exporter.type, body))
        self.follows = self.job.get("follow_redirects", True)
        self.is_odd_page = exporter.oddity is not None
        # What Prometheus refuses because of its time does not count there; nor do its exemplars.
        self.has_times = exporter.oddity in ("numbers", "lines", "moved", "bytes") or any(metric.timestamp is not None for family in exporter.families for metric in family.metrics)
        transport = odd.__name__ if is_odd_transport else usual.__name__
        self.title = f"{exporter.format} ({exporter.oddity or 'usual'}) by {self.tls or transport}"

    def reply(self, count):
        return self.replies[min(count, SCRAPES - 1)]

    def final(self, count):
        return self.finals[max(0, min(count, SCRAPES - 1))]

    def describe(self):
        """The settings and the replies, for a report of differences."""
        lines = [f"{self.index} {self.title}, reuse ends by {self.ends_reuse}", f"  {json.dumps(self.job, ensure_ascii=False)}"]
        for number, (steps, final) in enumerate(zip(self.replies, self.finals)):
            lines.append(f"  reply {number}: " + str([step[:300] if isinstance(step, bytes) and self.title.endswith("headers") else step for step in steps])[:3000])
            if final != steps:
                lines.append(f"    with the body {final[0].partition(bytes([13, 10, 13, 10]))[2]}"[:3000])
        return "\n".join(lines)

    def with_target(self, ports, scraper):
        """The job for a scraper."""
        port = ports[scraper, self.tls or "plain"]
        return self.job | {"static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"variant": str(self.index)}}]}
