"""Decoders that may crash, in a process of their own (layer: io).

GDCM (of python-gdcm and of SimpleITK) ends its whole program on some damaged frames. So it runs in
a child, which reads one bare file after the other: a line of JSON comes in for each, a line goes
out when its values lie beside it. The child sees pixels only, no header of a patient.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.child_python import child_environment, module_command

Stored = NDArray[np.integer[Any]]
TIMEOUT_S = 60.0
_MAX_STARTS = 3


class DecoderChild:
    """The parent's side: starts the child when it is needed, and again if it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._starts = 0

    def decode(self, bare: bytes, shape: tuple[int, int]) -> Stored | None:
        """Return the stored values of a file that holds one frame; None if no decoder can."""
        if self._process is None and not self._start():
            return None
        if self._process is None or self._process.stdin is None or self._folder is None:
            return None
        source = Path(self._folder.name) / "frame.dcm"
        source.write_bytes(bare)
        try:
            self._process.stdin.write(json.dumps([str(source), *shape]) + "\n")
            self._process.stdin.flush()
            answer = self._answers.get(timeout=TIMEOUT_S)
        except (OSError, queue.Empty):
            answer = ""
        if not answer:  # it died, or hangs
            self._stop()
            return None
        if not json.loads(answer):
            return None
        values: Stored = np.load(source.with_suffix(".npy"), allow_pickle=False)
        return values

    def close(self) -> None:
        """End the child and remove its files."""
        self._stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self) -> bool:
        if self._starts >= _MAX_STARTS:
            return False
        self._starts += 1
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ctrestore-")
        self._process = subprocess.Popen(
            module_command("ctrestorelib.io.dicom.decoder_child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=child_environment(1),
        )
        self._answers = queue.Queue()
        listen = threading.Thread(
            target=_listen, args=(self._process.stdout, self._answers), daemon=True
        )
        listen.start()
        return True

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process = None


def _listen(stream: IO[str] | None, answers: queue.Queue[str]) -> None:
    if stream is not None:
        with contextlib.suppress(OSError, ValueError), stream:
            for line in stream:
                answers.put(line)
    answers.put("")


def _decode(source: Path, shape: tuple[int, int]) -> bool:
    """Leave the values beside a file; False if no decoder gives a picture of this shape."""
    from ctrestorelib.io.dicom.quiet import quiet, read_errors

    for attempt in (_by_gdcm, _by_simpleitk):
        try:
            with quiet():
                values = attempt(source)
        except read_errors():
            continue
        if values.shape == shape:
            np.save(source.with_suffix(".npy"), values, allow_pickle=False)
            return True
    return False


def _by_gdcm(source: Path) -> Stored:
    import pydicom

    dataset = pydicom.dcmread(source)
    try:
        from pydicom.pixels import pixel_array
    except ImportError:
        return np.asarray(dataset.pixel_array)
    return np.asarray(pixel_array(dataset, index=0, raw=True))


def _by_simpleitk(source: Path) -> Stored:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(source))
    values = SimpleITK.GetArrayFromImage(reader.Execute())
    stored: Stored = np.squeeze(values, 0).astype(np.int32)
    return stored


def main() -> None:
    """Decode until the parent closes the pipe."""
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        source, rows, columns = json.loads(line)
        done = _decode(Path(source), (rows, columns))
        answers.write(json.dumps(done) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
