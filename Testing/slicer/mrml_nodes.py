"""Nodes made with plain VTK calls, and where MRML itself says that their voxels lie."""

from __future__ import annotations

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ctrestorelib.mrml.transforms import matrix_of


def random_affine(seed: int) -> np.ndarray:
    """Return an affine of any handedness, oblique, every third one sheared."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes[:, 0] *= -1 if seed % 2 else 1
    if seed % 3 == 0:
        axes = axes @ np.array([[1, 0.2, 0], [0, 1, 0.3], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.uniform(0.01, 3.0, 3)
    matrix[:3, 3] = rng.normal(0, 200, 3)
    return matrix


def node_with(context, values: np.ndarray, ijk_to_ras: np.ndarray | None = None, cls=None):
    """Return a node with these stored values, made with plain VTK calls."""
    node = context.new_node(cls or "vtkMRMLScalarVolumeNode", "Made by VTK")
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(values.shape[:3]))
    flat = values.reshape(-1) if values.ndim == 3 else values.reshape(-1, values.shape[3])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(flat), deep=True))
    node.SetAndObserveImageData(image)
    if ijk_to_ras is not None:
        node.SetIJKToRASMatrix(matrix_of(ijk_to_ras))
    return node


def ras_of(node, ijk) -> np.ndarray:
    """Return where MRML itself says that a voxel lies in the world."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    point = np.array(matrix.MultiplyPoint((*ijk, 1.0))[:3])
    parent = node.GetParentTransformNode()
    if parent is None:
        return point
    out = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(point.tolist(), out)
    return np.array(out)


def result_of(volume, values=None, *, role="volume", uncertainty=None, **changes):
    """Return a job's result with an honest record, without running a job."""
    from ctrestorelib.core.provenance import InputIdentity, Provenance, array_sha256
    from ctrestorelib.jobs.runner import JobResult

    made = volume if values is None else volume.with_values(values)
    record = Provenance(
        method="nlm",
        method_version="1",
        params={"h_hu": None, "patch": 3, "fast": True},
        inputs=(InputIdentity(role, array_sha256(volume.values), volume.shape, ("1.2.3",)),),
        plan={"sentence": "fits"},
        seed=7,
        strength=0.75,
        options={"region_kji": ((0, 2), (1, 3), (2, 4)), "mu_water_per_mm": 0.0192},
        warnings=({"code": "unit-guessed", "text": 'The unit was "guessed" <to be> HU.'},),
        report={"residual": float("inf"), "noise": [1.5, 2.5]},
        output_sha256=array_sha256(made.values),
        environment={"ctrestorelib": "0.1.0", "python": "3.12.10"},
        seconds=1.25,
    )
    return JobResult(made, Provenance(**{**vars(record), **changes}), uncertainty)


def node_ids(scene) -> set[str]:
    """Return the ids of all nodes, but for the tree itself, which Slicer makes when asked for."""
    nodes = scene.GetNodes()
    every = (nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems()))
    return {n.GetID() for n in every if not n.IsA("vtkMRMLSubjectHierarchyNode")}


def reopened(context, path):
    """Save the scene as MRB, close it and load it again."""
    assert context.scene.WriteToMRB(str(path))
    context.scene.Clear(0)
    assert context.scene.ReadFromMRB(str(path))
    return context.scene
