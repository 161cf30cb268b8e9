"""Fetching a series into a new folder: all of it, or nothing (layer: pacs)."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import PacsError, ResourceError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.notes import Note
from ctrestorelib.pacs.instances import require_uid
from ctrestorelib.pacs.peers import DicomWebServer, Peer
from ctrestorelib.pacs.query import instances_at
from ctrestorelib.pacs.retrieve import Basket, get, no_such_series, wado
from ctrestorelib.pacs.sending import Retry


@dataclass(frozen=True)
class Fetched:
    """A series that was fetched.

    Parameters
    ----------
    folder
        Where ``IM00001.dcm`` and so on lie, in the order of their instance numbers.
    count
        How many files.
    notes
        What could not be checked.
    """

    folder: Path
    count: int
    notes: tuple[Note, ...]


def fetch_series(
    peer: Peer,
    study: str,
    series: str,
    folder: Path,
    *,
    retry: Retry | None = None,
    job: Job | None = None,
) -> Fetched:
    """Fetch a series, check that it is the one asked for and complete, and put it in place.

    Parameters
    ----------
    peer
        The archive.
    study, series
        UIDs.
    folder
        A folder that does not exist yet, or is empty.
    retry
        How often to start again after a broken connection.
    job
        Asked whether to stop.

    Raises
    ------
    PacsError
        If the archive refuses, breaks off, or sends something else; nothing is left behind.
    UsageError
        If the folder has content.
    """
    require_uid(study, "study UID")
    require_uid(series, "series UID")
    _require_free(folder)
    job, retry = job or Job(), retry or Retry()
    for wait_s in (*retry.waits(), None):
        job.check()
        try:
            return _fetch_once(peer, study, series, folder)
        except PacsError as error:
            if wait_s is None or not error.transient:
                raise
        job.note("retry", wait_s=wait_s)
        retry.wait(wait_s, job)
    raise AssertionError  # the last round returns or raises


def _fetch_once(peer: Peer, study: str, series: str, folder: Path) -> Fetched:
    expected, notes = _expected(peer, study, series)
    with _temporary_beside(folder) as beside:
        basket = Basket(Path(beside))
        if isinstance(peer, DicomWebServer):
            wado(peer, study, series, basket)
        else:
            get(peer, study, series, basket)
        ordered = _checked(basket, peer, study, series)
        missing = len(expected - set(ordered))
        if missing:
            message = f"{peer.label} sent {len(ordered)} of {len(expected)} instances."
            raise PacsError(message, hint="Try again.", transient=True)
        return Fetched(folder, _put_in_place(ordered, folder), notes)


def _expected(peer: Peer, study: str, series: str) -> tuple[frozenset[str], tuple[Note, ...]]:
    """Return the UIDs that the archive lists; a note where it cannot be asked."""
    try:
        found = instances_at(peer, study, series)
    except PacsError as error:
        if error.transient:
            raise
        text = "The archive could not be asked for the number of images, so it was not checked."
        return frozenset(), (Note("count-unchecked", text),)
    if not found:
        raise no_such_series(peer.label)
    return found, ()


def _checked(basket: Basket, peer: Peer, study: str, series: str) -> dict[str, Path]:
    """Return the received files by UID, in the order of instance numbers.

    Raises
    ------
    PacsError
        If a file is no DICOM file or belongs to another series.
    """
    import pydicom

    names = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    found: list[tuple[int, str, Path]] = []
    for path in basket.files:
        try:
            with quiet():
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, specific_tags=[*names, "InstanceNumber"]
                )
        except read_errors():
            message = f"{peer.label} sent a file that is not DICOM."
            raise PacsError(message, hint="See the archive's log.") from None
        uid, of_study, of_series = (elements.uid(header, name) for name in names)
        if (of_study, of_series) != (study, series):
            message = f"{peer.label} sent an image of another study or series; nothing was kept."
            raise PacsError(message, hint="Report this to its administrator.")
        found.append((elements.whole(header, "InstanceNumber"), uid, path))
    return {uid: path for _, uid, path in sorted(found)}


def _require_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = "The output exists already and is not an empty folder."
        raise UsageError(message, hint="Give a new folder; nothing is overwritten.")


def _temporary_beside(folder: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".ctrestore-fetch-", dir=folder.parent)
    except OSError as error:
        message = f"The output folder cannot be made: {error.strerror or error}."
        raise ResourceError(message, hint="Check free space and write permission.") from error


def _put_in_place(ordered: dict[str, Path], folder: Path) -> int:
    """Move the files into a folder of their own, then rename that folder to its final name."""
    ready = next(iter(ordered.values())).parent / "ready"
    ready.mkdir()
    for number, path in enumerate(ordered.values(), start=1):
        path.rename(ready / f"IM{number:05d}.dcm")
    if folder.exists():
        folder.rmdir()  # empty, as was checked
    shutil.move(ready, folder)
    return len(ordered)
