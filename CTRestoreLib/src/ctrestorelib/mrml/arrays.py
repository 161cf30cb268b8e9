"""The voxels of a node as a numpy array, and back (layer: mrml)."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.scene import Node


def scalars_of(node: Node) -> tuple[Any, Any]:
    """Return a node's ``vtkImageData`` and its scalar array.

    Raises
    ------
    InputError
        If the node has no image, or its image has no values.
    """
    image = node.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        message = f"{node.GetName()} holds no image; expected a volume with voxels."
        raise InputError(message, hint="Load the volume again, or choose another one.")
    return image, scalars


def view_of(node: Node) -> NDArray[Any]:
    """Return a node's values ``[k, j, i]`` in their stored type, without a copy.

    The array belongs to the node: nobody writes to it, and it ends with the node's image.

    Raises
    ------
    InputError
        If there is no image, or more than one value per voxel.
    """
    image, scalars = scalars_of(node)
    if scalars.GetNumberOfComponents() != 1:
        count = scalars.GetNumberOfComponents()
        message = f"{node.GetName()} has {count} values per voxel; a CT volume has one."
        raise InputError(message, hint="Choose a grey volume instead of colours or vectors.")
    view: NDArray[Any] = vtk_to_numpy(scalars).reshape(tuple(reversed(image.GetDimensions())))
    view.flags.writeable = False
    return view


def image_from(values: NDArray[np.float32]) -> Any:
    """Return a float ``vtkImageData`` with a copy of ``values[k, j, i]``."""
    contiguous = np.ascontiguousarray(values, dtype=np.float32)
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(contiguous.shape))
    image.GetPointData().SetScalars(numpy_to_vtk(contiguous.ravel(), deep=True))
    return image
