"""A cluster of real processes on this machine: nodes with addresses of their own, started, killed, cut off, added and drained."""
import json
import os
import pathlib
import random
import re
import subprocess
import time
import urllib.request

from pharos import BINARY, Pharos, Skipped, check, request, wait_for

WEB, PEER = 9090, 7946
TOKEN = "of-the-test"
LAYOUT = {"meta": 3, "ingester": 3, "agent": 2, "store": 2, "frontend": 1, "compactor": 1}


class Loopback:
    """Each node has an address of 127/8; the second number is random, so that runs beside each other do not meet."""

    def __init__(self):
        self.net = f"127.{random.SystemRandom().randrange(2, 250)}.{os.getpid() % 250}"

    def address(self, number):
        return f"{self.net}.{number}"

    def prefix(self, number):
        return []

    def close(self):
        pass


class Bridge:
    """Nodes on a bridge of their own. Those in `apart` are in a network namespace each, which can be cut off: packets vanish, both ways. Needs root."""

    def __init__(self, apart):
        tag = f"{os.getpid() % 10000:04}"
        self.bridge, self.net, self.apart, self.taken = f"phb{tag}", f"10.{os.getpid() % 200 + 20}.77", set(apart), set()
        self.space = {number: f"phn{tag}-{number}" for number in self.apart}
        try:
            self.ip("link", "add", self.bridge, "type", "bridge")
        except (OSError, AssertionError) as error:
            raise Skipped(f"no bridge can be made: {error}") from None
        try:
            self.ip("addr", "add", f"{self.net}.1/24", "dev", self.bridge)
            self.ip("link", "set", self.bridge, "up")
            for number, space in self.space.items():
                outside, inside = f"pho{tag}{number}", f"phi{tag}{number}"
                self.ip("netns", "add", space)
                self.ip("link", "add", outside, "type", "veth", "peer", "name", inside)
                self.ip("link", "set", inside, "netns", space)
                self.ip("link", "set", outside, "master", self.bridge, "up")
                self.ip("-n", space, "addr", "add", f"{self.net}.{number}/24", "dev", inside)
                self.ip("-n", space, "link", "set", inside, "up")
                self.ip("-n", space, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def ip(*arguments):
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
        check(done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}")

    def address(self, number):
        if number not in self.apart and number not in self.taken:
            self.taken.add(number)
            self.ip("addr", "add", f"{self.net}.{number}/24", "dev", self.bridge)
        return f"{self.net}.{number}"

    def prefix(self, number):
        return ["ip", "netns", "exec", self.space[number]] if number in self.apart else []

    def rule(self, number, policy):
        for chain in ("INPUT", "OUTPUT"):
            subprocess.run([*self.prefix(number), "iptables", "-P", chain, policy], check=True)

    def cut(self, number):
        self.rule(number, "DROP")

    def heal(self, number):
        self.rule(number, "ACCEPT")

    def close(self):
        for space in self.space.values():
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, check=False)


def certificates(folder):
    """Flags for TLS between nodes: an authority, and one certificate that all nodes show. Made by openssl."""
    folder = pathlib.Path(folder)

    def openssl(*arguments):
        try:
            subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)
        except FileNotFoundError:
            raise Skipped("openssl is not installed") from None

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority of the test")
    openssl("req", "-x509", *key, "-keyout", "node.key", "-out", "node.pem", "-subj", "/CN=node", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-addext", "subjectAltName=DNS:node.pharos", "-addext", "basicConstraints=critical,CA:FALSE")
    return [f"--tls.ca-file={folder}/ca.pem", f"--tls.cert-file={folder}/node.pem", f"--tls.key-file={folder}/node.key", "--tls.server-name=node.pharos"]


class Node(Pharos):
    """One process of the cluster."""

    def __init__(self, cluster, role, name, number):
        super().__init__(cluster.folder / name, cluster.config)
        self.cluster, self.role, self.name, self.number = cluster, role, name, number
        self.ip = cluster.network.address(number)

    @property
    def url(self):
        return f"http://{self.ip}:{WEB}"

    def command(self):
        return [*self.cluster.network.prefix(self.number), BINARY, "server", f"--roles={self.role}", f"--config.file={self.config}",
                f"--storage.path={self.folder}/data", f"--web.listen-address={self.ip}:{WEB}",
                f"--cluster.listen-address={self.ip}:{PEER}", f"--cluster.advertise-address={self.ip}:{PEER}",
                f"--join={self.cluster.join}", f"--cluster.zone={self.cluster.zones.get(self.name, '')}", *self.cluster.flags, *self.flags]

    @property
    def identity(self):
        return (self.folder / "data/node-id").read_text().strip()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def terminate(self, seconds=90):
        """SIGTERM, as an orderly restart does it; the exit code must be 0."""
        began = time.monotonic()
        code = self.stop(seconds)
        check(code == 0, f"{self.name} ended with {code}\n{self.tail()}")
        return time.monotonic() - began


class Cluster:
    """Nodes by name, such as `ingester-2`."""

    def __init__(self, folder, layout=None, network=None, flags=(), config=None, factor=3, window="1m"):
        self.folder = pathlib.Path(folder)
        self.bucket = self.folder / "bucket"
        self.bucket.mkdir()
        self.layout, self.network, self.factor = layout or LAYOUT, network or Loopback(), factor
        self.config = config or f"scrape_configs: []\nobject_store: {{type: filesystem, directory: {self.bucket}}}\n"
        metas = self.layout["meta"]
        self.zones = {}
        # Numbers of addresses begin at 11; those of meta come first and are what all others join.
        self.join = ",".join(f"{self.network.address(11 + i)}:{PEER}" for i in range(metas))
        self.flags = [f"--cluster.expect={metas}", f"--cluster.replication-factor={factor}", f"--cluster.token={TOKEN}",
                      f"--storage.tsdb.min-block-duration={window}", *flags]
        self.nodes, self.next = {}, 11
        for role, count in self.layout.items():
            for _ in range(count):
                self.make(role)

    def make(self, role):
        """A node that is not started yet."""
        name = f"{role}-{1 + sum(1 for node in self.nodes.values() if node.role == role)}"
        self.nodes[name] = Node(self, role, name, self.next)
        self.next += 1
        return self.nodes[name]

    def __getitem__(self, name):
        return self.nodes[name]

    def of(self, role):
        """The running nodes of a role."""
        return [node for node in self.nodes.values() if node.role == role and node.running()]

    def start(self):
        began = time.monotonic()
        for node in self.nodes.values():
            node.start(wait=False)
        for node in self.nodes.values():
            node.wait_ready(120)
        self.settle()
        print(f"     {len(self.nodes)} nodes are ready and in sync after {time.monotonic() - began:.1f} s", flush=True)
        return self

    def add(self, role):
        return self.make(role).start()

    def status(self):
        """What a node says of the cluster; meta nodes are asked first, since they know most."""
        errors = []
        for node in sorted((n for n in self.nodes.values() if n.running()), key=lambda n: n.role != "meta"):
            try:
                status, body = request(urllib.request.Request(node.url + "/api/v1/cluster"), 5)
                if status == 200:
                    return json.loads(body)["data"]
                errors.append(f"{node.name}: {status} {body[:200]}")
            except OSError as error:
                errors.append(f"{node.name}: {error}")
        raise AssertionError(f"no node tells of the cluster: {errors}")

    def members(self, status=None):
        """Members by identity."""
        return {member["node"]: member for member in (status or self.status())["members"]}

    def state_of(self, node, status=None):
        return self.members(status).get(node.identity, {}).get("state", "unknown")

    def unsettled(self):
        """What is not as it should be when nothing has failed for a while; empty when all is well."""
        try:
            status = self.status()
        except AssertionError as error:
            return [str(error)]
        wrong = []
        for node in self.nodes.values():
            if node.running() and (state := self.state_of(node, status)) != "active":
                wrong.append(f"{node.name} is {state}")
        wanted = min(self.factor, len(self.of("ingester")))
        running = {node.identity for node in self.of("ingester")}
        short = [s for s in status["shards"] if len(s["inSync"]) < wanted or s["lagging"] or not set(s["inSync"]) <= running or not s["leader"]]
        if short or not status["shards"]:
            wrong.append(f"{len(short)} of {len(status['shards'])} shards are not in sync {wanted} times, such as {json.dumps(short[:1])}")
        return wrong

    def settle(self, seconds=120):
        """Waits until every running node is at work and every shard has all its replicas in sync; how long it took."""
        began = time.monotonic()
        until = began + seconds
        while wrong := self.unsettled():
            for node in self.nodes.values():
                if node.process is not None and not node.stopped_by_test:
                    node.alive()
            check(time.monotonic() < until, f"after {seconds} s: {'; '.join(wrong)[:1500]}")
            time.sleep(0.25)
        return time.monotonic() - began

    def meta_leader(self):
        leader = self.status()["meta"]["leader"]
        found = [node for node in self.of("meta") if node.identity == leader]
        check(found, f"the leader of meta is {leader!r}, which is no node of meta that runs")
        return found[0]

    def command(self, *arguments, seconds=300, node=None):
        """`pharos cluster ...` against a node; its output."""
        server = (node or self.of("meta")[0]).url
        done = subprocess.run([BINARY, "cluster", *arguments, "--server", server, "--token", TOKEN], capture_output=True, text=True, timeout=seconds)
        check(done.returncode == 0, f"pharos cluster {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def drain(self, node, seconds=300):
        """Moves everything off a node and stops it; seconds that the drain took."""
        began = time.monotonic()
        self.command("drain", node.identity, seconds=seconds)
        took = time.monotonic() - began
        node.stopped_by_test = True
        node.terminate()
        return took

    def complaints(self):
        """Lines of the logs that must never be: panics, and violated invariants."""
        bad = re.compile(r"panicked at|invariant")
        return [f"{node.name}: {line}" for node in self.nodes.values() if node.log.exists()
                for line in node.log.read_text(errors="replace").splitlines() if bad.search(line)]

    def close(self):
        for node in self.nodes.values():
            if node.running():
                node.kill()
        self.network.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


Node.stopped_by_test = False


def placements(status):
    """(shard, node) of every replica."""
    return {(number, node) for number, shard in enumerate(status["shards"]) for node in shard["replicas"]}


def flushed(cluster, seconds=180):
    """Waits until no ingester has an ended window that is not in a block."""
    waiting = lambda: sum(node.metric("pharos_flush_waiting_windows") for node in cluster.of("ingester"))
    wait_for(lambda: waiting() == 0, seconds, "windows wait to be shipped")
