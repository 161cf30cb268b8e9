"""Batches made ahead by background threads, the same whatever their timing (layer: training)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

Batch = Mapping[str, torch.Tensor]
Batches = Callable[[int, np.random.Generator], Batch]
"""``batches(step, rng)`` returns the batch of a step; it depends on its two arguments only."""


def batch_rng(seed: int, rank: int, step: int) -> np.random.Generator:
    """Return the generator of one batch: a function of its arguments, not of what ran before."""
    return np.random.default_rng([seed, rank, step])


def batches_ahead(
    batches: Batches, steps: range, *, seed: int, rank: int, ahead: int, workers: int
) -> Generator[Batch, None, None]:
    """Yield the batches of ``steps`` in order.

    Parameters
    ----------
    batches
        Makes one batch; called from background threads if ``ahead`` is not 0, from several at
        once if ``workers`` is above 1.
    steps
        The steps, in order.
    seed, rank
        Decide the random numbers together with the step.
    ahead
        Batches that may wait; 0 makes each when it is asked for.
    workers
        Background threads.
    """
    if ahead == 0:
        for step in steps:
            yield batches(step, batch_rng(seed, rank, step))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    waiting: deque[Future[Batch]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(batches, step, batch_rng(seed, rank, step)))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
