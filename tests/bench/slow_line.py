"""A line to a server that takes its time: each request arrives late, and requests and bytes are counted."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) ")


class SlowLine:
    """A context: `endpoint` leads to the server at `to`, each request `delay` seconds late."""

    def __init__(self, to: str, delay: float) -> None:
        self._requests: Synchronized[int] = multiprocessing.Value("q", 0)
        self._bytes: Synchronized[int] = multiprocessing.Value("q", 0)
        self._port: Synchronized[int] = multiprocessing.Value("q", 0)
        self._ready = multiprocessing.Event()
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(to, delay), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        if not self._ready.wait(30):
            raise RuntimeError("the line does not come up")
        self.endpoint = f"http://127.0.0.1:{self._port.value}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def count(self) -> tuple[int, int]:
        """Requests and bytes of answers since it was asked last."""
        found = self._requests.value, self._bytes.value
        self._requests.value = self._bytes.value = 0
        return found

    def _run(self, to: str, delay: float) -> None:
        asyncio.run(self._serve(urlsplit(to), delay))

    async def _serve(self, to: Any, delay: float) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server_reader, server_writer = await asyncio.open_connection(to.hostname, to.port)
            await asyncio.gather(self._asks(reader, server_writer, delay), self._answers(server_reader, writer))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._port.value = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        while data := await reader.read(2**20):
            if _REQUEST.match(data):
                with self._requests.get_lock():
                    self._requests.value += 1
                await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**20):
            with self._bytes.get_lock():
                self._bytes.value += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()
