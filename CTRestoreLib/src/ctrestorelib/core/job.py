"""The running job as a method sees it: progress, cancel, warnings, random numbers (layer: core)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import Cancelled

T = TypeVar("T")
Event = dict[str, Any]

_MIN_INTERVAL_S = 0.05


class Job:
    """Hands a method its progress bar, its cancel button and its dice.

    Parameters
    ----------
    emit
        Receives events (plain dictionaries with a ``"kind"``); by default they are dropped.
    is_cancelled
        Asked at every step; when it answers True the step raises
        :class:`~ctrestorelib.core.errors.Cancelled`.
    seed
        Root of every random number that the job uses.
    """

    def __init__(
        self,
        emit: Callable[[Event], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        seed: int = 0,
    ) -> None:
        self._emit = emit or (lambda _event: None)
        self._is_cancelled = is_cancelled or (lambda: False)
        self.seed = int(seed)
        self.fraction = 0.0
        self.warnings: list[dict[str, str]] = []
        self._last_sent = -1.0

    @contextmanager
    def stage(self, title: str, share: float) -> Generator[Stage, None, None]:
        """Open a stage that stands for ``share`` (0 to 1) of the whole job."""
        self.check()
        stage = Stage(self, title, self.fraction, share)
        self._emit({"kind": "stage", "title": title, "fraction": self.fraction})
        yield stage
        self.advance(stage.start + share, force=True)

    def check(self) -> None:
        """Raise :class:`Cancelled` if the person asked to stop."""
        if self._is_cancelled():
            raise Cancelled

    def advance(self, fraction: float, *, force: bool = False) -> None:
        """Report the fraction done of the whole job; never goes back, never passes 1."""
        self.fraction = min(1.0, max(self.fraction, fraction))
        now = time.monotonic()
        if force or now - self._last_sent >= _MIN_INTERVAL_S:
            self._last_sent = now
            self._emit({"kind": "progress", "fraction": self.fraction})

    def warn(self, code: str, text: str) -> None:
        """Record an assumption or a doubt; shown to the person and kept in the provenance.

        Parameters
        ----------
        code
            Stable name in kebab-case, such as ``"limited-angle"``. A code is recorded once.
        text
            One sentence without patient data or paths.
        """
        if any(w["code"] == code for w in self.warnings):
            return
        self.warnings.append({"code": code, "text": text})
        self._emit({"kind": "warning", "code": code, "text": text})

    def note(self, name: str, **values: Any) -> None:
        """Send a measured number or two (such as a residual) to whoever watches."""
        self._emit({"kind": "note", "name": name, **values})

    def preview(self, slice_: NDArray[np.float32]) -> None:
        """Offer one slice ``[j, i]`` of the growing result."""
        self._emit({"kind": "preview", "slice": slice_})

    def rng(self, name: str) -> np.random.Generator:
        """Return the generator called ``name``: the same for the same seed, whatever ran before."""
        digest = hashlib.sha256(f"{self.seed}:{name}".encode()).digest()
        return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


class Stage:
    """One stage of a job; made by :meth:`Job.stage`."""

    def __init__(self, job: Job, title: str, start: float, share: float) -> None:
        self.job, self.title, self.start, self.share = job, title, start, share

    def track(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield the items, reporting progress and checking for cancel before each."""
        count = total if total is not None else len(items)  # type: ignore[arg-type]
        for index, item in enumerate(items):
            self.job.check()
            yield item
            self.done((index + 1) / max(count, 1))
        self.job.check()

    def done(self, fraction: float) -> None:
        """Report the fraction done of this stage, and check for cancel."""
        self.job.check()
        self.job.advance(self.start + self.share * min(1.0, fraction))
