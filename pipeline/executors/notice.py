"""A worker that is told to go (a spot machine that is taken back, a pod that is moved) takes no new well, and finishes
or gives up its own before its two minutes are over.

    dask worker ... --preload pipeline.executors.notice

It is told by a file, GOING (a pod's preStop hook makes it), or, with CELLPAINTING_NOTICE=aws in its environment, by the
machine's own metadata.

Dask alone would start the running task elsewhere at once, and both would be paid for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from distributed import Worker

logger = logging.getLogger(__name__)

#: the file that tells; whoever makes it may wait until no worker process is left
GOING = Path(os.environ.get("CELLPAINTING_GOING", "/tmp/cellpainting-going"))
#: seconds between two looks, and those that a well has to end in: AWS takes a machine two minutes after it says so
LOOK, LEFT = 5.0, 100.0
_METADATA = "http://169.254.169.254/latest"


def dask_setup(worker: Worker) -> None:
    """Called by Dask where a worker starts."""
    is_told = is_to_be_taken if os.environ.get("CELLPAINTING_NOTICE") == "aws" else GOING.exists
    worker._watch_for_notice = asyncio.create_task(heed(worker, is_told))  # type: ignore[attr-defined]


async def heed(worker: Worker, is_told: Callable[[], bool], look: float = LOOK, left: float = LEFT) -> None:
    """Wait for the notice, let the running task end, and close the worker."""
    while not await asyncio.to_thread(is_told):
        await asyncio.sleep(look)
    logger.warning("%s is told to go: it takes no new task", worker.address)
    await _retire(worker, remove=False)  # removed, the scheduler would start what runs here once more elsewhere
    until = time.monotonic() + left
    while worker.state.executing and time.monotonic() < until:
        await asyncio.sleep(min(look, 0.5))
    if given_up := [task.key for task in worker.state.executing]:
        logger.warning("%s gives up %s, which another worker does again", worker.address, ", ".join(map(str, given_up)))
    await _retire(worker, remove=True)  # the records of what has ended go to others
    await worker.close(nanny=True, reason="told to go")


async def _retire(worker: Worker, *, remove: bool) -> None:
    await worker.scheduler.retire_workers(
        workers=[worker.address], close_workers=False, remove=remove, stimulus_id=f"notice-{time.time()}"
    )


def is_to_be_taken(metadata: str = _METADATA) -> bool:
    """Whether AWS has said that it takes this spot machine back (EC2's instance metadata, version 2)."""
    try:
        asked = urllib.request.Request(
            f"{metadata}/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        with urllib.request.urlopen(asked, timeout=2) as answer:
            token = answer.read().decode()
        action = urllib.request.Request(
            f"{metadata}/meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token}
        )
        with urllib.request.urlopen(action, timeout=2):
            return True
    except (urllib.error.URLError, TimeoutError, OSError):  # 404: nothing was said
        return False
