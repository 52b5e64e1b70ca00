"""The load during scenarios: the load generator, a client that measures write outages, and a client that checks answers."""
import json
import random
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import wire
from pharos import check, request

INTERVAL, STEPS = 5, 12
PROBES = 512  # series of the probe: enough to have some in each of 64 shards


class Round:
    """One run of the load generator: one minute, up to now, of hosts that no earlier run has written."""

    def __init__(self, first, hosts):
        self.first, self.hosts, self.end = first, hosts, int(time.time()) // INTERVAL * INTERVAL

    def shape(self):
        return ["--first-host", str(self.first), "--hosts", str(self.hosts), "--steps", str(STEPS), "--interval", str(INTERVAL), "--end", str(self.end)]

    def instance(self):
        return f"10.{self.first >> 16 & 255}.{self.first >> 8 & 255}.{self.first & 255}:9100"


class Worker(threading.Thread):
    """A thread that runs until it is stopped. `finish` raises its exception."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.stopping, self.error = load, threading.Event(), None

    def run(self):
        try:
            self.before()
            while not self.stopping.is_set():
                self.step()
        except Exception as error:  # handed to the main thread
            self.error = error

    def before(self):
        pass

    def finish(self):
        self.stopping.set()
        self.join(300)
        check(not self.is_alive(), f"{type(self).__name__} does not end")
        if self.error:
            raise self.error


class Writer(Worker):
    """Runs `loadgen write` in a loop against an agent. If that agent is gone, it tries the next one."""

    def before(self):
        self.rounds, self.next, self.samples, self.retries, self.moved = [], 0, 0, 0, 0

    def step(self):
        round_ = Round(self.next, self.load.hosts)
        self.next += self.load.hosts
        until = time.monotonic() + 180
        while True:
            agents = self.load.cluster.of("agent")
            agent = agents[self.moved % len(agents)] if agents else None
            if agent:
                done = subprocess.run([self.load.tool, "write", "--url", f"{agent.url}/api/v1/write", *round_.shape(), "--batch", "1000", "--concurrency", "2"],
                                      capture_output=True, text=True, timeout=240)
                if done.returncode == 0:
                    break
                check("gave up" in done.stderr, f"a write was refused: {done.stderr[-800:]}")
                self.moved += 1
            check(time.monotonic() < until, f"no write of {round_.shape()} for 180 s: {done.stderr[-800:] if agent else 'no agent'}")
            self.stopping.wait(0.2)
        answer = json.loads(done.stdout)
        self.samples, self.retries = self.samples + answer["samples"], self.retries + answer["retries"]
        self.rounds.append(round_)
        self.stopping.wait(self.load.pause)


class Probe(Worker):
    """Pushes to every shard four times a second. Acknowledged samples must be readable later. The longest gap between two acknowledgements is the outage that a
    client sees."""

    def before(self):
        self.acked, self.unsure, self.refused, self.events = [], [], 0, [time.monotonic()]
        self.labels = [[("__name__", "probe"), ("n", str(n))] for n in range(PROBES)]
        self.agent = 0

    def step(self):
        now = int(time.time() * 1000)
        body = wire.snappy(b"".join(wire.series(labels, (now % 1000, now)) for labels in self.labels))
        agents = self.load.cluster.of("agent")
        if not agents:
            self.stopping.wait(0.1)
            return
        status = 0
        for _ in range(len(agents)):
            agent = agents[self.agent % len(agents)]
            try:
                status, text = request(urllib.request.Request(agent.url + "/api/v1/write", data=body, headers=wire.HEADERS, method="POST"), 15)
                if status < 300:
                    break
            except OSError as error:
                status, text = 0, str(error)
            self.agent += 1
        if status < 300 and status:
            self.acked.append(now)
            self.events.append(time.monotonic())
        else:
            self.unsure.append(now)
            self.refused += 1
            check(status in (0, 429, 500, 502, 503, 504), f"a push got {status}: {text[:500]}")
        self.stopping.wait(0.25 if status else 0.05)


class Reader(Worker):
    """Queries known samples continuously. Each answer must be right, say that it may be out of date, or be an explicit error."""

    def before(self):
        self.random, self.right, self.loud, self.wrong, self.events = random.Random(7), 0, {}, [], [time.monotonic()]
        self.latencies = []

    def step(self):
        rounds, frontends = self.load.writer.rounds, self.load.cluster.of("frontend")
        if not rounds or not frontends:
            self.stopping.wait(0.1)
            return
        # Half of the time the newest: what has just been acknowledged must be there.
        round_ = rounds[-1] if self.random.random() < 0.5 else self.random.choice(rounds)
        question = self.random.choice((self.counted, self.ranged))
        began = time.monotonic()
        try:
            status, body, right = question(frontends[0].url, round_)
        except OSError as error:
            self.note_loud(type(error).__name__)
            self.stopping.wait(0.1)
            return
        if status != 200:
            self.note_loud(str(status))
        elif is_stale(body):
            self.note_loud("out of date")
        elif right:
            self.right += 1
            self.events.append(time.monotonic())
            self.latencies.append(time.monotonic() - began)
        else:
            self.wrong.append(f"{time.strftime('%H:%M:%S')} {question.__name__} of {round_.shape()}: {body[:600]}")
        self.stopping.wait(0.1)

    def note_loud(self, kind):
        self.loud[kind] = self.loud.get(kind, 0) + 1

    def ask(self, url, path, **params):
        return request(urllib.request.Request(f"{url}/api/v1/{path}", data=urllib.parse.urlencode(params).encode()), 30)

    def counted(self, url, round_):
        """Counts all samples of a host."""
        status, body = self.ask(url, "query", query=f'sum(count_over_time({{instance="{round_.instance()}"}}[{STEPS * INTERVAL}s]))', time=round_.end)
        expected = self.load.series * STEPS
        return status, body, status == 200 and answer_is(body, lambda result: [float(one["value"][1]) for one in result] == [expected])

    def ranged(self, url, round_):
        """Counts the series of a host at each step, across memory and blocks."""
        start = round_.end - (STEPS - 1) * INTERVAL
        status, body = self.ask(url, "query_range", query=f'count({{instance="{round_.instance()}"}})', start=start, end=round_.end, step=INTERVAL)
        expected = [[start + i * INTERVAL, str(self.load.series)] for i in range(STEPS)]
        return status, body, status == 200 and answer_is(body, lambda result: [one["values"] for one in result] == [expected])


def is_stale(body):
    """Whether an answer warns that the node could not confirm its view of the cluster."""
    return any(warning.startswith("as of ") for warning in json.loads(body).get("warnings", ()))


def answer_is(body, right):
    """Whether an answer has the expected result and no warnings."""
    answer = json.loads(body)
    return answer["status"] == "success" and not answer.get("warnings") and right(answer["data"]["result"])


class Load:
    """All workers together: `with Load(cluster, tool) as load`, then `load.verify()` at quiet moments."""

    def __init__(self, cluster, tool, hosts=1, pause=1.5):
        self.cluster, self.tool, self.hosts, self.pause = cluster, tool, hosts, pause
        self.series = int(subprocess.run([tool, "series"], capture_output=True, text=True, check=True).stdout)
        self.writer, self.probe, self.reader = Writer(self), Probe(self), Reader(self)
        self.workers, self.began = [self.writer, self.probe, self.reader], time.monotonic()

    def __enter__(self):
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.stopping.set()
        for worker in self.workers:
            worker.join(60)

    def check_workers(self):
        for worker in self.workers:
            if worker.error:
                raise worker.error
        check(not self.reader.wrong, f"{len(self.reader.wrong)} wrong answers, such as {self.reader.wrong[:2]}")

    def wait_rounds(self, count, seconds=120):
        """Waits until the generator has finished this many more rounds."""
        goal, until = len(self.writer.rounds) + count, time.monotonic() + seconds
        while len(self.writer.rounds) < goal:
            self.check_workers()
            check(time.monotonic() < until, f"{len(self.writer.rounds)} rounds of {goal} are written after {seconds} s")
            time.sleep(0.1)

    def answers(self):
        """Whether the newest round can be read now."""
        try:
            return self.reader.counted(self.cluster.of("frontend")[0].url, self.writer.rounds[-1])[2]
        except OSError:
            return False

    def gap(self, worker, since):
        """The longest time without a success of a worker since a moment."""
        times = [t for t in list(worker.events)]
        before = max((t for t in times if t <= since), default=since)
        after = [before] + [t for t in times if t > since] + [time.monotonic()]
        return max(later - earlier for earlier, later in zip(after, after[1:]))

    def gaps(self, since):
        return self.gap(self.probe, since), self.gap(self.reader, since)

    def verify(self, frontend=None, last=None):
        """Checks that exactly the acknowledged samples are readable, once each."""
        self.check_workers()
        frontend = frontend or self.cluster.of("frontend")[0]
        rounds = list(self.writer.rounds)[-last if last else 0:]
        bad, expected = [], 0
        for round_ in rounds:
            done = subprocess.run([self.tool, "verify", "--url", frontend.url, *round_.shape()], capture_output=True, text=True, timeout=120)
            if done.returncode:
                bad.append(f"{round_.shape()}: {done.stdout.strip()}{done.stderr.strip()}")
            else:
                expected += json.loads(done.stdout)["expected"]
        check(not bad, f"{len(bad)} of {len(rounds)} rounds are not as written: {bad[:3]}")
        return expected + self.verify_probe(frontend)

    def verify_probe(self, frontend):
        """Checks that all series of the probe have a sample at each acknowledged time. Unacknowledged attempts may have one."""
        acked, unsure = list(self.probe.acked), set(self.probe.unsure)
        if not acked:
            return 0
        start, counts = acked[0], {}
        until = acked[-1] + 1
        while start < until:
            stop = min(start + 60_000, until)
            status, body = self.reader.ask(frontend.url, "query", query=f"probe[{stop - start}ms]", time=f"{(stop - 1) / 1000:.3f}")
            check(status == 200, f"probe: {status} {body[:500]}")
            for one in json.loads(body)["data"]["result"]:
                for at, value in one["values"]:
                    ms = round(at * 1000)
                    check(float(value) == ms % 1000, f"probe {one['metric']} is {value} at {at}")
                    counts[ms] = counts.get(ms, 0) + 1
            start = stop
        lost = {ms: counts.get(ms, 0) for ms in acked if counts.get(ms, 0) != PROBES}
        # What was under way when this was asked may be there already.
        strange = [ms for ms in counts if ms <= acked[-1] and ms not in unsure and ms not in set(acked)]
        check(not lost, f"{len(lost)} of {len(acked)} acknowledged pushes are not whole: {dict(list(lost.items())[:5])} of {PROBES} samples")
        check(not strange, f"samples at times that nobody wrote: {strange[:5]}")
        return len(acked) * PROBES

    def finish(self):
        """Stops the workers, verifies everything, and reports what they saw."""
        for worker in self.workers:
            worker.finish()
        found = self.verify()
        reads, latencies = self.reader, sorted(self.reader.latencies)
        check(reads.right, "no answer was checked")
        print(f"     {found} samples verified; {len(self.writer.rounds)} rounds with {self.writer.retries} retries, {len(self.probe.acked)} pushes, "
              f"{self.probe.refused} refused; {reads.right} answers right, 0 wrong, {sum(reads.loud.values())} failed loudly {reads.loud or ''}, "
              f"p50 {latencies[len(latencies) // 2] * 1000:.0f} ms, p99 {latencies[len(latencies) * 99 // 100] * 1000:.0f} ms", flush=True)
