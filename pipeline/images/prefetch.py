"""The next one is read while this one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from pipeline.errors import ImageError

Item = TypeVar("Item")
Images = TypeVar("Images")


def prefetch(items: Iterable[Item], read: Callable[[Item], Images]) -> Iterator[tuple[Item, Images | ImageError]]:
    """Yield each item with what `read` made of it, or with the `ImageError` it raised.

    One item is read ahead in a thread, never more: two items' images are in memory at most. Any other error of `read`
    says nothing about the images; it is raised when its item's turn comes.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    due: tuple[Item, Future[Images]] | None = None
    try:
        for item in items:
            ahead = item, reader.submit(read, item)
            if due is not None:
                yield due[0], _outcome(due[1])
            due = ahead
        if due is not None:
            yield due[0], _outcome(due[1])
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def _outcome(read: Future[Any]) -> Any:
    try:
        return read.result()
    except ImageError as error:
        return error
