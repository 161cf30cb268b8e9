"""Sending a series: in rounds, with a journal, until the archive has all of it (layer: pacs)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ctrestorelib.core.errors import Cancelled, PacsError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.pacs.instances import Instance
from ctrestorelib.pacs.journal import Journal
from ctrestorelib.pacs.peers import DicomWebServer, Peer
from ctrestorelib.pacs.query import instances_at
from ctrestorelib.pacs.results import InstanceResult, Outcome, SendReport
from ctrestorelib.pacs.store import store
from ctrestorelib.pacs.stow import BATCH_COUNT, stow


@dataclass(frozen=True)
class Retry:
    """How often to try again, and how long to wait before.

    Parameters
    ----------
    count
        Rounds after the first.
    first_s, factor, longest_s
        The waits: ``first_s``, then each ``factor`` times the last, up to ``longest_s``.
    sleep
        What waits; tests give their own.
    """

    count: int = 3
    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 30.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.count <= 100:
            message = f"The number of retries must be 0 to 100; got {self.count}."
            raise UsageError(message)

    def waits(self) -> tuple[float, ...]:
        """Return the wait before each further round, in seconds."""
        return tuple(min(self.longest_s, self.first_s * self.factor**n) for n in range(self.count))

    def wait(self, seconds: float, job: Job) -> None:
        """Wait in short steps, so that a person can stop."""
        steps = max(1, round(seconds / 0.2))
        for _ in range(steps):
            job.check()
            self.sleep(seconds / steps)


def send_series(
    instances: Sequence[Instance],
    peer: Peer,
    journal: Journal,
    *,
    again: bool = False,
    retry: Retry | None = None,
    job: Job | None = None,
) -> SendReport:
    """Send instances to an archive and return what became of each.

    Each acknowledgement is in the journal before the next instance goes out. What the journal
    names is not sent a second time. Instances that the archive could not take just now, and those
    it said nothing about, are sent again in further rounds.

    Parameters
    ----------
    instances
        From :func:`~ctrestorelib.pacs.instances.find_instances`.
    peer
        The archive.
    journal
        Where acknowledgements are kept.
    again
        Send also what this archive has acknowledged before.
    retry
        Further rounds.
    job
        Told of the progress; asked whether to stop.

    Raises
    ------
    Cancelled
        If the person stops; the journal keeps what was acknowledged until then.
    ResourceError
        If the journal cannot be written.
    """
    transfer = _Transfer(peer, journal, job or Job())
    transfer.begin(instances, frozenset() if again else journal.acknowledged(peer.key))
    try:
        transfer.rounds(retry or Retry())
    except (Cancelled, KeyboardInterrupt):
        message = f"Sending was stopped. {transfer.report().sentence()}"
        raise Cancelled(message) from None
    return transfer.report()


class _Transfer:
    """The state of one transfer: a result for every instance, at any time."""

    def __init__(self, peer: Peer, journal: Journal, job: Job) -> None:
        self.peer, self.journal, self.job = peer, journal, job
        self.results: dict[str, InstanceResult] = {}
        self.trouble: PacsError | None = None
        self._batch = BATCH_COUNT
        self._breaks: Counter[str] = Counter()

    def begin(self, instances: Sequence[Instance], known: frozenset[str]) -> None:
        for instance in instances:
            if instance.uid in known:
                result = InstanceResult(instance, Outcome.EARLIER)
            elif not instance.whole:
                words = "The file lacks a part of its pixels and was not sent."
                result = InstanceResult(instance, Outcome.REFUSED, words)
            else:
                result = _waiting(instance, "It was not its turn yet.")
            self.results[instance.uid] = result

    def rounds(self, retry: Retry) -> None:
        for wait_s in (*retry.waits(), None):
            self._round()
            if wait_s is None or not self._worth_another():
                return
            self.job.note("retry", wait_s=wait_s)
            retry.wait(wait_s, self.job)

    def _round(self) -> None:
        pending = [r.instance for r in self.results.values() if r.transient]
        # An instance at which an archive breaks off must not hold up the ones behind it.
        pending.sort(key=lambda instance: self._breaks[instance.uid])
        self.trouble = None
        left = {instance.uid: instance for instance in pending}
        try:
            for result in self._transmit(pending):
                del left[result.instance.uid]
                self._settle(result)
                self.job.check()
        except PacsError as trouble:
            self._broke_off(trouble, list(left.values()))

    def _broke_off(self, trouble: PacsError, left: Sequence[Instance]) -> None:
        self.trouble = trouble
        for instance in left:
            self.results[instance.uid] = _waiting(instance, trouble.message)
        if left:
            self._breaks[left[0].uid] += 1
            self._batch = max(1, self._batch // 8)

    def _worth_another(self) -> bool:
        permanent = self.trouble is not None and not self.trouble.transient
        return not permanent and any(r.transient for r in self.results.values())

    def report(self) -> SendReport:
        return SendReport(self.peer.label, tuple(self.results.values()), self.trouble)

    def _transmit(self, pending: Sequence[Instance]) -> Iterator[InstanceResult]:
        if not pending:
            return iter(())
        if isinstance(self.peer, DicomWebServer):
            return stow(self.peer, pending, self._batch)
        return store(self.peer, pending)

    def _settle(self, result: InstanceResult) -> None:
        if result.outcome.acknowledged:
            self.journal.add(self.peer.key, result)
        self.results[result.instance.uid] = result
        done = sum(not r.transient for r in self.results.values())
        self.job.advance(done / len(self.results))


def _waiting(instance: Instance, words: str) -> InstanceResult:
    return InstanceResult(instance, Outcome.UNSENT, words, transient=True)


def verify_sent(report: SendReport, peer: Peer) -> SendReport:
    """Ask the archive for its list of the series, and compare it with what it acknowledged.

    Raises
    ------
    PacsError
        If it does not list an instance that it acknowledged, or cannot be asked.
    """
    missing = 0
    for study, series in dict.fromkeys((i.study, i.series) for i in report.sent):
        sent = {i.uid for i in report.sent if i.series == series}
        missing += len(sent - instances_at(peer, study, series))
    if missing:
        message = f"{peer.label} acknowledged {missing} instances that it does not list."
        hint = "It may still be filing them: ask again later, or send once more with --again."
        raise PacsError(message, hint=hint)
    return report.with_check("listed")
