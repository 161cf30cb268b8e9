"""The child process in which RTK reads panel images (layer: io; see vendor_panels)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(order: Path) -> None:
    """Read the files listed in ``order``; leave values.npy and grid.json beside it."""
    import itk
    from itk import RTK as rtk  # noqa: N811

    files = json.loads(order.read_text(encoding="utf-8"))
    image_type = itk.Image[itk.F, 3]
    reader = rtk.ProjectionsReader[image_type].New()
    reader.SetFileNames(files)
    reader.Update()
    image = reader.GetOutput()
    np.save(order.with_name("values.npy"), itk.array_from_image(image), allow_pickle=False)
    grid = {"origin": list(image.GetOrigin()), "spacing": list(image.GetSpacing())}
    order.with_name("grid.json").write_text(json.dumps(grid), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
