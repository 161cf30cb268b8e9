"""What became of each instance, and of all of them (layer: pacs)."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ctrestorelib.core.errors import PacsError
from ctrestorelib.pacs.instances import Instance


@enum.unique
class Outcome(str, enum.Enum):
    """What became of one instance."""

    STORED = "stored"
    WARNING = "stored with a warning"
    EARLIER = "acknowledged earlier"
    REFUSED = "refused"
    UNSENT = "not sent"

    @property
    def acknowledged(self) -> bool:
        """Whether the archive said that it has the instance."""
        return self in (Outcome.STORED, Outcome.WARNING, Outcome.EARLIER)


@dataclass(frozen=True)
class InstanceResult:
    """What became of one instance.

    Parameters
    ----------
    instance
        Which one.
    outcome
        Stored, refused, ...
    words
        The reason as a sentence; empty for a plain success.
    status
        The archive's DICOM status code, or its HTTP status where it gave none.
    transient
        Whether sending again later can help.
    """

    instance: Instance
    outcome: Outcome
    words: str = ""
    status: int | None = None
    transient: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the instance is named by its number and UID."""
        return {
            "number": self.instance.number,
            "sop_instance_uid": self.instance.uid,
            "outcome": self.outcome.value,
            "status": self.status,
            "message": self.words,
        }


@dataclass(frozen=True)
class SendReport:
    """What became of a whole series.

    Parameters
    ----------
    peer
        Words for the archive.
    results
        One per instance, in their order.
    trouble
        The error that ended the transfer early, if one did.
    checked
        What was confirmed beyond the acknowledgements, such as ``"commitment"``.
    """

    peer: str
    results: tuple[InstanceResult, ...]
    trouble: PacsError | None = None
    checked: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the archive has acknowledged every instance."""
        return all(r.outcome.acknowledged for r in self.results)

    @property
    def sent(self) -> tuple[Instance, ...]:
        """The acknowledged instances."""
        return tuple(r.instance for r in self.results if r.outcome.acknowledged)

    def count(self, outcome: Outcome) -> int:
        """Return how many instances had an outcome."""
        return Counter(r.outcome for r in self.results)[outcome]

    def sentence(self) -> str:
        """Return one sentence with the counts."""
        parts = [f"{n} {o.value}" for o in Outcome if (n := self.count(o))]
        return f"{self.peer}, {len(self.results)} instances: {', '.join(parts)}."

    def with_check(self, name: str) -> SendReport:
        """Return the report with one more confirmation."""
        return replace(self, checked=(*self.checked, name))

    def require_complete(self) -> None:
        """Return only if the archive has everything.

        Raises
        ------
        PacsError
            With the reason, and how to send the rest.
        """
        if self.complete:
            return
        missing = len(self.results) - len(self.sent)
        cause = self.trouble.message if self.trouble else self._first_words()
        message = f"{missing} of {len(self.results)} instances are not in the archive. {cause}"
        hint = self.trouble.hint if self.trouble else "See the list of results."
        again = "Then send the same folder again: what was acknowledged is not sent twice."
        raise PacsError(message, hint=f"{hint} {again}".strip())

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "peer": self.peer,
            "complete": self.complete,
            "counts": {o.value: self.count(o) for o in Outcome},
            "checked": list(self.checked),
            "instances": [r.to_json() for r in self.results],
        }

    def _first_words(self) -> str:
        return next(r.words for r in self.results if not r.outcome.acknowledged)
