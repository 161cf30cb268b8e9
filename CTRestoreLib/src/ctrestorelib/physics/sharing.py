"""Sharing work among threads that release the interpreter's lock (layer: physics)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise


def share(work: Callable[[int, int], object], items: int, threads: int, parts: int = 4) -> None:
    """Call ``work(first, last)`` over ``items``, in ``parts`` pieces for each thread.

    Small pieces let a thread that was held up hand its share to the others. With one thread all is
    done in one call, in the caller's thread.
    """
    if threads <= 1 or items <= 1:
        work(0, items)
        return
    pieces = min(items, threads * parts)
    edges = [items * n // pieces for n in range(pieces + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, a, b) for a, b in pairwise(edges)]:
            done.result()
