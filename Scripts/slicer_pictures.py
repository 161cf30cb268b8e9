#!/usr/bin/env python3
"""Draw the pictures of Docs/pictures/slicer: the desktop module on the Qt test bench.

Everything shown is a procedural knee; no patient. Run: python3 Scripts/dev.py pictures
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Testing" / "slicer"))
TARGET = ROOT / "Docs" / "pictures" / "slicer"
SECTIONS = ("input", "denoise", "scan", "reconstruct", "compare", "segment", "export", "about")


class Artist:
    """Drives the module and takes pictures."""

    def __init__(self, bench: Any, module: Any) -> None:
        self.bench, self.module, self.desk = bench, module, module.desk

    def settle(self) -> None:
        """Let pending refreshes happen."""
        self.bench.pump(lambda: not self.desk._refreshPending, timeout=10)

    def show_only(self, *names: str) -> None:
        """Open these sections and close the others."""
        for name in SECTIONS:
            section = getattr(self.module.ui, f"{name}Section")
            section.setProperty("collapsed", name not in names)
        self.settle()

    def panel(self, name: str) -> Any:
        """Return one panel."""
        return next(p for p in self.desk.panels if type(p).__name__ == name)

    def apply(self, name: str) -> None:
        """Press Apply and wait."""
        self.settle()
        self.panel(name).run.onApply()
        self.bench.pump(lambda: not self.desk.session.busy, timeout=500)
        self.settle()

    def panels(self, name: str, *sections: str) -> None:
        """Picture of the panel with these sections open."""
        self.show_only(*sections)
        self.bench.grab_panel(TARGET / f"{name}.png")

    def window(self, name: str, *sections: str) -> None:
        """Picture of the whole window."""
        self.show_only(*sections)
        self.bench.grab_window(TARGET / f"{name}.png")


def story(artist: Artist) -> None:
    """From the phantom to the saved result."""
    import slicer

    artist.panel("InputPanel").onPhantom()
    artist.settle()
    clean = artist.desk.store.get("scan_volume")
    artist.panels("input", "input")
    artist.panels("denoise", "denoise")
    artist.apply("DenoisePanel")
    artist.window("denoised", "input", "denoise")
    compare = artist.panel("ComparePanel")
    compare.onCompare()
    artist.settle()
    for mode in ("side_by_side", "three_up", "checkerboard", "blend", "wipe"):
        artist.desk.change({"compare_mode": mode})
        artist.window(f"compare_{mode}", "compare")
    artist.desk.change({"compare_mode": "side_by_side"})
    add_measures(artist)
    for name in ("Profile", "Muscle"):
        slicer.mrmlScene.GetFirstNodeByName(name).GetDisplayNode().SetVisibility3D(False)
    artist.window("measure", "compare")
    artist.panel("ComparePanel").onQuality()
    artist.bench.pump(lambda: not artist.desk.session.busy, timeout=120)
    artist.settle()
    artist.panel("ComparePanel").ui.measureBox.setProperty("collapsed", False)
    artist.window("quality", "compare")
    for name in ("Profile", "Muscle"):
        slicer.mrmlScene.GetFirstNodeByName(name).GetDisplayNode().SetVisibility(False)
    artist.desk.change({"compare_charts": False, "compare_mode": "wipe"})
    artist.settle()
    segment = artist.panel("SegmentPanel")
    segment.onSegment()
    artist.window("segment_slices", "segment")
    compare.onCompare()
    segment.onSurfaces()
    segment.onDistance()
    artist.window("segment", "segment")
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        node.GetDisplayNode().SetVisibility(False)
    artist.desk.change({"scan_volume": clean, "scan__views": 10})
    artist.panels("scan", "scan")
    artist.apply("ScanPanel")
    artist.panels("reconstruct", "reconstruct")
    artist.apply("ReconstructPanel")
    usual = artist.desk.store.get("compare_b")
    artist.desk.change({"reconstruct_method": "fdk"})
    artist.apply("ReconstructPanel")
    artist.desk.change({"compare_c": artist.desk.store.get("compare_b"), "compare_b": usual,
                        "compare_a": clean, "compare_mode": "four_up"})  # fmt: skip
    compare.onCompare()
    artist.window("reconstructed", "reconstruct", "compare")
    compare.onCompare()
    with tempfile.TemporaryDirectory(prefix="results-") as folder:
        artist.desk.change({"export_volume": usual, "export_folder": folder})
        artist.panels("export", "export")


def add_measures(artist: Artist) -> None:
    """A profile line across the bone and a box in the muscle."""
    import slicer
    import vtk

    line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "Profile")
    line.CreateDefaultDisplayNodes()
    line.AddControlPoint(vtk.vtkVector3d(-45, 14, 1))
    line.AddControlPoint(vtk.vtkVector3d(45, 14, 1))
    box = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Muscle")
    box.CreateDefaultDisplayNodes()
    box.SetCenter(12, -14, 1)
    box.SetSize(24, 16, 20)
    artist.desk.change({"compare_line": line, "compare_roi": box})
    compare = artist.panel("ComparePanel")
    compare.onProfile()
    compare.onStatistics()
    artist.settle()


def main() -> int:
    """Draw everything."""
    from bench.bench import Bench
    from trame_slicer.core.slicer_app import SlicerApp

    TARGET.mkdir(parents=True, exist_ok=True)
    bench = Bench(SlicerApp())
    module = bench.load_module(ROOT / "CTRestore" / "CTRestore.py")
    story(Artist(bench, module))
    problems = [str(p) for p in bench.problems]
    bench.unload_module()
    print("\n".join(problems) or f"Pictures are in {TARGET.relative_to(ROOT)}.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
