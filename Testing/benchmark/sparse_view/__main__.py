"""``python Testing/benchmark/sparse_view``: see :mod:`sparse_view.run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[1])
# Child processes import the package too: they find it through the environment.
os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, os.environ.get("PYTHONPATH", "")])
sys.path.insert(0, FOLDER)

if __name__ == "__main__":
    # Before anything computes: every process works on one core, so that seconds can be compared.
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    from sparse_view.run import main

    sys.exit(main())
