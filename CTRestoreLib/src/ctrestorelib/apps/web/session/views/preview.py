"""A coarse copy of a volume for volume rendering without a graphics card (layer: apps).

Ray casting on the processor needs gradients of every voxel first: five bytes and half a
microsecond each. For 512 x 512 x 300 voxels that is a long pause and 400 MB; at eight million
voxels nobody waits, and the picture is hardly coarser than its pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.display import same_display
from ctrestorelib.mrml.scene import Node, SceneContext

MOST_VOXELS = 8_000_000
ATTRIBUTE = "CTRestore.Preview"
"""On the copy: the id of the volume it shows."""


def preview_of(context: SceneContext, source: Node) -> Node:
    """Return the coarse copy of a volume, made again if the volume has changed.

    The copy is hidden from lists and is not saved with the scene. It moves with the volume's parent
    transform.
    """
    found = find_preview(context, source.GetID())
    if found is not None:
        if is_current(context, source):
            return found
        context.scene.RemoveNode(found)
    values = view_of(source)
    step = coarse_step(values.shape)
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(context.scene.GenerateUniqueName("CTRestore 3D preview"))
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetAttribute(ATTRIBUTE, source.GetID())
    node.SetAndObserveImageData(_image(coarse(values, step)))
    node.SetIJKToRASMatrix(_matrix(source, step))
    node = context.scene.AddNode(node)
    node.SetAndObserveTransformNodeID(source.GetTransformNodeID())
    same_display(source, node)
    return node


def is_current(context: SceneContext, source: Node) -> bool:
    """Whether there is a coarse copy, and the volume has not changed since."""
    found = find_preview(context, source.GetID())
    return found is not None and found.GetImageData().GetMTime() > source.GetImageData().GetMTime()


def find_preview(context: SceneContext, source_id: str) -> Node | None:
    """Return the coarse copy of the volume with this id, if there is one."""
    scene = context.scene
    for n in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode")
        if source_id and node.GetAttribute(ATTRIBUTE) == source_id:
            return node
    return None


def coarse_step(shape: tuple[int, ...], most: int = MOST_VOXELS) -> tuple[int, int, int]:
    """Return how many voxels ``(k, j, i)`` become one, so that at most ``most`` are left."""
    step = [1, 1, 1]
    while np.prod([max(1, n // s) for n, s in zip(shape, step, strict=True)]) > most:
        longest = max(range(3), key=lambda n: shape[n] / step[n])
        step[longest] += 1
    return (step[0], step[1], step[2])


def coarse(values: NDArray[Any], step: tuple[int, int, int]) -> NDArray[Any]:
    """Return means over blocks of ``step`` voxels; 16-bit integers where the values allow it.

    Voxels at the far ends that do not fill a block are left out; values that are no number count
    as the least one.
    """
    counts = [n // s for n, s in zip(values.shape, step, strict=True)]
    out = np.empty(counts, np.float32)
    for k in range(counts[0]):  # slab by slab: no copy of the whole volume
        slab = values[k * step[0] : (k + 1) * step[0], : counts[1] * step[1], : counts[2] * step[2]]
        blocks = slab.reshape(step[0], counts[1], step[1], counts[2], step[2])
        out[k] = blocks.mean(axis=(0, 2, 4), dtype=np.float32)
    finite = np.isfinite(out)
    if not finite.all():
        out[~finite] = out[finite].min() if finite.any() else 0.0
    wide = max(abs(float(out.min())), abs(float(out.max())))
    return np.rint(out).astype(np.int16) if 100.0 <= wide < 32000.0 else out


def _matrix(source: Node, step: tuple[int, int, int]) -> Any:
    """Return IJK to RAS of the copy: its voxels lie in the middle of their blocks."""
    matrix = vtk.vtkMatrix4x4()
    source.GetIJKToRASMatrix(matrix)
    scale = vtk.vtkMatrix4x4()
    for axis, size in enumerate(reversed(step)):
        scale.SetElement(axis, axis, size)
        scale.SetElement(axis, 3, (size - 1) / 2.0)
    vtk.vtkMatrix4x4.Multiply4x4(matrix, scale, matrix)
    return matrix


def _image(values: NDArray[Any]) -> Any:
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(values.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    return image
