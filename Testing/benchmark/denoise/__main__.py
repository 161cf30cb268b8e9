"""``python Testing/benchmark/denoise``: see :mod:`denoise.run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[1])
# Child processes import the package too: they find it through the environment.
os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, os.environ.get("PYTHONPATH", "")])
sys.path.insert(0, FOLDER)

if __name__ == "__main__":
    from denoise.run import main

    sys.exit(main())
