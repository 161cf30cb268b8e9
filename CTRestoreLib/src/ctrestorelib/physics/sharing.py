"""Sharing work among threads that release the interpreter's lock (layer: physics)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

WORTH_SHARING_S = 5e-4
"""Less work than this is done sooner than other threads wake up, above all on a busy machine."""


def share(work: Callable[[int, int], object], items: int, threads: int, parts: int = 4) -> None:
    """Call ``work(first, last)`` over ``items``, in ``parts`` pieces for each thread.

    Small pieces let a thread that was held up hand its share to the others. The first item is done
    in the caller's thread; so are all if it tells that they take no time, or with one thread.
    Pieces may be cut anywhere: ``work`` must give the same whatever the cuts.
    """
    if threads <= 1 or items <= 1:
        work(0, items)
        return
    begun = time.perf_counter()
    work(0, 1)
    if (time.perf_counter() - begun) * (items - 1) < WORTH_SHARING_S:
        work(1, items)
        return
    pieces = min(items - 1, threads * parts)
    edges = [1 + (items - 1) * n // pieces for n in range(pieces + 1)]
    running = [_pool(threads).submit(work, a, b) for a, b in pairwise(edges)]
    wait(running)  # also those after one that failed: they write into the caller's arrays
    for done in running:
        done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return the pool of so many threads. To start one takes as long as many a small projection."""
    return ThreadPoolExecutor(threads, thread_name_prefix="ctrestore-share")


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
