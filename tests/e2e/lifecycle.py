#!/usr/bin/env python3
"""Start, reload and stop: signals, lifecycle endpoints, exit codes, errors of failed starts, watched target files."""
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import wire
from pharos import BINARY, Checks, Pharos, check, free_port, wait_for

SELF = "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"


def ended(signal_number):
    """The server exits cleanly on a signal and has all samples after the next start."""
    def body(folder):
        with Pharos(folder, "scrape_configs: []\n", "--log.format=json").start() as server:
            now = int(time.time() * 1000)
            status, text = server.post("/api/v1/write", wire.snappy(wire.series([("__name__", "m")], (42, now))), wire.HEADERS)
            check(status == 204, f"{status} {text}")
            began = time.monotonic()
            server.process.send_signal(signal_number)
            server.process.wait(20)
            check(server.process.returncode == 0, f"exit code {server.process.returncode}\n{server.tail()}")
            check(time.monotonic() - began < 10, "stopping took over 10 s")
            lines = [json.loads(line) for line in server.log.read_text().splitlines()]
            check(all({"time", "level", "msg"} <= line.keys() for line in lines), f"{lines}")
            check(not [line for line in lines if line["level"] == "ERROR"], server.tail())
            server.start()
            check(server.scalar("m", time=now / 1000) == 42, "the sample is gone")
    return body


def scrapes_itself(folder):
    """Without a configuration file the server scrapes itself."""
    port = free_port()
    process = subprocess.Popen([BINARY, f"--storage.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
                               stdout=subprocess.DEVNULL, stderr=open(f"{folder}/log", "ab"))
    try:
        server = Pharos(folder)
        server.port, server.process = port, process
        server.wait_ready()
        wait_for(lambda: server.scalar("up") == 1, 40, "no sample of its own", server.log)
    finally:
        process.kill()
        process.wait()


def endpoints(folder):
    with Pharos(f"{folder}/closed").start() as server:
        for path in ("/-/reload", "/-/quit"):
            status, text = server.post(path)
            check(status == 403 and "lifecycle" in text.lower(), f"{path} without the flag: {status} {text}")
        status, _ = server.post("/api/v1/admin/tsdb/snapshot")
        check(status >= 400, f"the admin API answers {status} without the flag")
        check(server.get("/-/healthy")[0] == 200 and server.get("/-/ready")[0] == 200, "not healthy")
        check(server.get("/nothing")[0] == 404, "a path that does not exist is there")
    with Pharos(f"{folder}/open", None, "--web.enable-lifecycle").start() as server:
        check(server.post("/-/reload")[0] == 200, "no reload")
        check(server.get("/-/reload")[0] == 405, "a GET reloads")
        check(server.post("/-/quit")[0] == 200, "no quit")
        check(server.process.wait(20) == 0, f"exit code {server.process.returncode}")


def hangup(folder):
    with Pharos(folder).start() as server:
        server.config.write_text(SELF.format(port=server.port))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.scalar('up{job="self"}') == 1, 15, "the new configuration is not in force", server.log)
        last = server.metric("pharos_config_last_reload_success_timestamp_seconds")
        server.config.write_text("global: {scrape_interval: never}\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.metric("pharos_config_last_reload_successful") == 0, 15, "the failure is not shown", server.log)
        check(server.metric("pharos_config_last_reload_success_timestamp_seconds") == last, "the time of the last success moved")
        check(server.logged(r"pharos\.yml:1:\d+.*scrape_interval|scrape_interval.*pharos\.yml:1"), server.tail())
        server.config.write_text("scrape_configs: []\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not server.query('up{job="self"}'), 15, "series of a target that went away are not stale")


def watched_targets(folder):
    """A changed target file takes effect without a reload."""
    targets = pathlib.Path(folder) / "targets.json"
    with Pharos(f"{folder}/server", f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{{job_name: files, file_sd_configs: [{{files: ['{targets}']}}]}}]\n").start() as server:
        for name in ("first", "second"):
            new = pathlib.Path(folder) / "new"
            new.write_text(json.dumps([{"targets": [f"127.0.0.1:{server.port}"], "labels": {"which": name}}]))
            new.rename(targets)
            wait_for(lambda: server.query(f'up{{which="{name}"}} == 1'), 20, f"the {name} targets are not scraped", server.log)
        wait_for(lambda: not server.query('up{which="first"}'), 10, "the first targets are not stale")
        targets.write_text("[{]")
        time.sleep(3)
        check(server.query('up{which="second"} == 1'), "a broken file ended the scraping of what was there")


def bad_starts(folder):
    def start(*flags, **kwargs):
        done = subprocess.run([BINARY, "server", *flags], capture_output=True, text=True, timeout=30, **kwargs)
        check(done.returncode not in (0, 101) and done.returncode > 0, f"{flags}: exit code {done.returncode}: {done.stderr}")
        return done.stderr
    error = start("--storage.tsdb.retention.tim=1d")
    check("retention.time" in error, f"the nearest flag is not named: {error}")
    check("nothing.yml" in start(f"--config.file={folder}/nothing.yml", f"--storage.path={folder}/x"), "the missing file is not named")
    check("5 parsecs" in start("--query.timeout=5 parsecs"), "the bad value is not named")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        check(address in start(f"--web.listen-address={address}", f"--storage.path={folder}/y"), "the taken address is not named")
    with Pharos(f"{folder}/first").start() as server:
        error = start(f"--storage.path={server.folder}/data", f"--web.listen-address=127.0.0.1:{free_port()}")
        check("another" in error.lower() or "lock" in error.lower() or "in use" in error.lower(), f"two servers on one folder: {error}")
        server.alive()


def main():
    checks = Checks()

    def run(name, body):
        def within():
            with tempfile.TemporaryDirectory(prefix="pharos-life-") as folder:
                body(folder)
        checks.run(name, within)

    run("SIGTERM", ended(signal.SIGTERM))
    run("SIGINT", ended(signal.SIGINT))
    run("SIGHUP", hangup)
    run("lifecycle endpoints", endpoints)
    run("without a configuration", scrapes_itself)
    run("watched target files", watched_targets)
    run("bad starts", bad_starts)
    checks.finish()


if __name__ == "__main__":
    main()
