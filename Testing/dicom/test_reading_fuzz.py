"""A small slice of the fuzz run, and proof that the harness notices what it looks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_reading
import fuzz_seeds

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


@linux
def test_spoilt_files_give_results_or_sentences():
    report = fuzz_reading.fuzz(400)
    assert sum(report.outcomes.values()) == 400
    assert not report.failures, str(report)
    assert report.outcomes["refused/refused"] > 200
    assert sum(n for word, n in report.outcomes.items() if word.startswith("read")) > 20
    assert report.slowest[0] < 10


def test_cases_are_the_same_each_time():
    one, other = list(fuzz_seeds.seeds()), list(fuzz_seeds.seeds())
    assert one == other
    assert len(one) > 20
    for case in range(60):
        assert fuzz_reading.mutated(case, one) == fuzz_reading.mutated(case, other)
    changed = [fuzz_reading.mutated(n, one)[1] != one[n % len(one)][1] for n in range(60)]
    assert sum(changed) > 55


def follow(code: str, seconds: float = 20) -> tuple[int, fuzz_reading.Report]:
    report = fuzz_reading.Report()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    return fuzz_reading._follow(child, report, 7, seconds), report


def test_child_that_dies_or_hangs_is_a_finding():
    begin = "print('{\"begin\": 7}', flush=True); "
    at, report = follow(begin + "import os; os.kill(os.getpid(), 11)")
    assert (at, len(report.failures)) == (8, 1)
    assert "code -11" in report.failures[0][1]
    at, report = follow(begin + "import time; time.sleep(60)", seconds=1)
    assert (at, len(report.failures)) == (8, 1)
    assert "no answer within 1 s" in report.failures[0][1]
    assert str(report).startswith("1 files")


def test_told_name_and_foreign_exceptions_are_findings(tmp_path, monkeypatch):
    from ctrestorelib.core.errors import InputError
    from ctrestorelib.io import dicom_series

    def tell(*_args, **_options):
        message = "The series of Geheim cannot be read."
        raise InputError(message)

    data = fuzz_seeds.packed(fuzz_seeds.classic())
    assert fuzz_reading.read_case("explicit", data, tmp_path) == "read/refused"
    monkeypatch.setattr(dicom_series, "read_series", tell)
    with pytest.raises(AssertionError, match="name was told"):
        fuzz_reading.read_case("explicit", data, tmp_path)
    monkeypatch.setattr(dicom_series, "read_series", lambda *_a, **_o: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fuzz_reading.read_case("explicit", data, tmp_path)
