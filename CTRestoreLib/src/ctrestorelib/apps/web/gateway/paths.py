"""Names and paths that came from outside, made safe (layer: apps; standard library only).

Three kinds come in: paths that a person types (kept inside the folders the operator named), names
of uploaded files (rewritten) and identifiers of uploads and downloads (looked up, never joined).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ctrestorelib.core.errors import InputError

MAX_DEPTH = 24
"""Most folders above an uploaded file."""

MAX_NAME_BYTES = 120
"""Longest name of an uploaded file or folder; longer ones are cut before their suffixes."""

_MAX_PATH_CHARACTERS = 2000
_DRIVE = re.compile(r"^[A-Za-z]:")
_DEVICES = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$", re.IGNORECASE)
_UPLOAD_ID = re.compile(r"^[0-9a-f]{16}$")
_ALLOWED = "._-+()[] ,=@"


def confine(path: str | os.PathLike[str], roots: Sequence[Path]) -> Path:
    """Return the real path of a file or folder that lies inside one of the allowed folders.

    Links and ``..`` are followed first, so that a link inside an allowed folder to a place outside
    is refused. Open the path that is returned, not the one that was given.

    Parameters
    ----------
    path
        Full path, as a person typed it.
    roots
        Folders that the operator allowed (``--root``).

    Raises
    ------
    InputError
        If the path is outside, or inside and not there. Of places outside nothing is told, not
        even whether they exist.
    """
    if not roots:
        message = "Loading by path is not offered here: the operator has named no folder for it."
        raise InputError(message, hint="Upload the files, or restart with --root FOLDER.")
    text = os.fspath(path)
    if "\0" in text or not Path(text).is_absolute():
        message = "A full path was expected, from the top of the disk on."
        raise InputError(message, hint="Type the whole path, or choose the file from the list.")
    real = _resolved(text)
    if real is None or not any(real.is_relative_to(root.resolve()) for root in roots):
        message = "This path is outside the folders that the operator allowed."
        raise InputError(message, hint="Upload the files, or ask the operator to add the folder.")
    if not real.exists():
        message = "There is no such file or folder."
        raise InputError(message, hint="Check the spelling, or choose the file from the list.")
    return real


def _resolved(text: str) -> Path | None:
    try:
        return Path(text).resolve()
    except (OSError, RuntimeError):  # a loop of links, or a name too long for the disk
        return None


def safe_relative(path: str) -> tuple[str, ...]:
    """Return the parts of an uploaded file's path, each a harmless name.

    Characters that some system treats specially become ``_``. A path that tries to leave its
    folder is no accident and is refused.

    Raises
    ------
    InputError
        If the path is empty, too long or too deep, absolute, names a drive, or climbs with ``..``.
    """
    flat = path.replace("\\", "/")
    parts = [part for part in flat.split("/") if part not in ("", ".")]
    climbs = flat.startswith("/") or ".." in (p.strip() for p in parts) or _DRIVE.match(flat)
    if climbs or "\0" in path:
        message = "The name of a file points to a place outside the upload."
        raise InputError(message, hint="Send files and folders with plain names.")
    if not parts or len(parts) > MAX_DEPTH or len(path) > _MAX_PATH_CHARACTERS:
        message = f"A file was sent without a name, or inside more than {MAX_DEPTH} folders."
        raise InputError(message, hint="Send the folder that holds the images directly.")
    return tuple(safe_name(part) for part in parts)


def safe_name(name: str) -> str:
    """Return a name that is one plain visible file name on every system; suffixes are kept.

    Examples
    --------
    >>> safe_name("CON.nii"), safe_name(".hidden"), safe_name("a<b>|c.nrrd ")
    ('_CON.nii', '_hidden', 'a_b__c.nrrd')
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join(c if c.isalnum() or c in _ALLOWED else "_" for c in text)
    text = _shortened(text.strip().rstrip(". "))
    if text.startswith("."):
        text = f"_{text[1:]}"
    if _DEVICES.match(text):
        text = f"_{text}"
    return text or "_"


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    end = "".join(Path(name).suffixes[-2:])
    end = end if len(end) <= 16 else ""
    start = name.encode()[: MAX_NAME_BYTES - len(end.encode())]
    return start.decode(errors="ignore").rstrip(". ") + end


class Names:
    """Gives every path of an upload a place of its own, also where two names became the same.

    Systems that ignore upper and lower case count them as the same too.
    """

    def __init__(self) -> None:
        self._files: set[tuple[str, ...]] = set()
        self._folders: set[tuple[str, ...]] = set()

    def place(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Return ``parts``, with a number before the suffixes where that place is taken."""
        for count in range(1, 100_000):
            tried = (*parts[:-1], _numbered(parts[-1], count))
            key = tuple(part.casefold() for part in tried)
            above = {key[:n] for n in range(1, len(key))}
            if above & self._files:  # a folder of that name cannot be made: there is a file
                message = "The upload holds a file and a folder of the same name."
                raise InputError(message, hint="Rename one of them.")
            if key not in self._files and key not in self._folders:
                self._files.add(key)
                self._folders |= above
                return tried
        message = "The upload holds too many files of the same name."
        raise InputError(message, hint="Send them in separate folders.")


def _numbered(name: str, count: int) -> str:
    if count == 1:
        return name
    end = "".join(Path(name).suffixes[-2:])
    return f"{name.removesuffix(end)}-{count}{end}"


def find_upload(folder: Path, upload_id: str) -> Path:
    """Return where an upload lies: ``id`` is its folder, ``id/n`` its n-th file or folder.

    Parameters
    ----------
    folder
        That person's own folder (``--folder``); uploads are in ``uploads/`` under it.
    upload_id
        What ``POST /upload`` answered.

    Raises
    ------
    InputError
        If there is no such upload.
    """
    name, _, number = upload_id.partition("/")
    base = folder / "uploads" / name
    if not _UPLOAD_ID.match(name) or base.is_symlink() or not base.is_dir():
        raise _no_upload()
    if not number:
        return base
    entries = entries_of(base)
    if not re.fullmatch(r"[0-9]{1,6}", number) or int(number) >= len(entries):
        raise _no_upload()
    return entries[int(number)]


def entries_of(upload: Path) -> list[Path]:
    """Return the files and folders at the top of an upload, in the order of their numbers."""
    return sorted(upload.iterdir(), key=lambda p: p.name)


def _no_upload() -> InputError:
    message = "This upload does not exist, or its data were already wiped."
    return InputError(message, hint="Upload the files again.")


def find_download(folder: Path, name: str) -> Path:
    """Return the file of that name in ``downloads/`` of a person's own folder.

    Raises
    ------
    InputError
        If there is none; folders, links and hidden files count as none.
    """
    path = folder / "downloads" / name
    plain = name not in ("", ".", "..") and not re.search(r"[/\\\0]", name) and name[0] != "."
    if not plain or path.is_symlink() or not path.is_file():
        message = "There is no such file to download."
        raise InputError(message, hint="Make it again in the page.")
    return path
