"""The server of all targets: one event loop, two plain ports and a port for each kind of certificate, once for each scraper.

Each scraper has its own count of scrapes for each target, so that all see the same sequence of replies.
"""
import asyncio
import collections
import re
import socket
import struct
import threading

from scrape_variants import transports

# What of a request is compared.
HEADERS = ["accept", "accept-encoding", "authorization", "x-prometheus-scrape-timeout-seconds", "x-extra", "x-lower", "cookie", "referer", "connection", "content-length"]


class Targets:
    """Serves variants to the scrapers, which are known by the ports that they ask."""

    def __init__(self, variants, scrapers, contexts):
        self.variants, self.scrapers, self.contexts = variants, scrapers, contexts
        self.counts = collections.Counter()
        self.requests = collections.defaultdict(set)
        self.ports = {}
        self.loop = asyncio.new_event_loop()
        # Handshakes that fail, and what is still running at the end.
        self.loop.set_exception_handler(lambda *_: None)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(), self.loop).result(60)

    async def listen(self):
        self.servers = []
        for scraper in self.scrapers:
            for name, context in [("plain", None), ("other", None), *self.contexts.items()]:
                serve = lambda reader, writer, scraper=scraper: self.serve(scraper, reader, writer)
                server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=500, limit=1 << 20)
                self.servers.append(server)
                self.ports[scraper, name] = server.sockets[0].getsockname()[1]

    def close(self):
        async def stop():
            for server in self.servers:
                server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def serve(self, scraper, reader, writer):
        try:
            number = 0
            while await self.answer(scraper, reader, writer, number):
                number += 1
        except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, scraper, reader, writer, number):
        """Answers one request; returns whether the connection stays open."""
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *headers = request.rstrip("\r\n").split("\r\n")
        found = re.search(r"/v/(\d+)(/final|/loop|/hops/\d+|)", line)
        if not found or int(found[1]) not in self.variants:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        variant, rest = self.variants[int(found[1])], found[2]
        path = f"/v/{variant.index}"
        self.note(scraper, variant, line, headers)
        count = self.counts[scraper, variant.index]
        if rest == "/loop":
            steps = transports.redirect_to(f"{path}/loop")
        elif rest.startswith("/hops"):
            steps = transports.hop(path, int(rest.rpartition("/")[2]))
        elif rest == "/final":
            steps = variant.final(count - 1)
        else:
            steps = variant.reply(count)
            # A scraper sends a request again when a connection that it used before ends without a byte.
            if steps[0] in (transports.CLOSE, transports.RESET) and number > 0:
                return self.end(writer, steps[0])
            if variant.ends_reuse and number > 0:
                return self.end(writer, variant.ends_reuse)
            self.counts[scraper, variant.index] += 1
        return await self.play(scraper, path, steps, reader, writer)

    async def play(self, scraper, path, steps, reader, writer):
        for step in steps:
            if isinstance(step, bytes):
                for mark, text in ((b"@SELF@", str(self.ports[scraper, "plain"])), (b"@OTHER@", str(self.ports[scraper, "other"])), (b"@PATH@", path)):
                    step = step.replace(mark, text.encode())
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step == transports.HANG:
                await reader.read()
                return False
            else:
                if step == transports.RESET:
                    # A reset discards what the peer has not read yet.
                    await asyncio.sleep(0.05)
                return self.end(writer, step)
        return True

    def end(self, writer, how):
        if how == transports.RESET:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return False

    def note(self, scraper, variant, line, headers):
        kept = [header for header in headers if header.partition(":")[0].lower() in HEADERS]
        text = "\n".join([line, *sorted(kept)])
        for name in ("plain", "other"):
            text = text.replace(f":{self.ports[scraper, name]}", f":{name}")
        self.requests[scraper, variant.index].add(text)
