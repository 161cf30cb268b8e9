"""How a result was made stays with its node, and makes the result again."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.provenance import InputIdentity, Provenance, array_sha256
from ctrestorelib.core.units import Unit
from ctrestorelib.io.projections import write_projections
from ctrestorelib.io.volumes import read_volume, write_volume
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import run_job
from ctrestorelib.mrml import records
from ctrestorelib.mrml.hierarchy import item_of, tree_of
from ctrestorelib.mrml.volumes import new_volume_node
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_ids, reopened, result_of


def plain(record: Provenance) -> dict:
    """Return a record as JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(record.to_json()))


@pytest.fixture
def node(context, small_ct):
    return new_volume_node(context, "Result", small_ct)


@pytest.fixture
def recorded(context, node, small_ct):
    """Return a node with a record, and the record."""
    record = result_of(small_ct).provenance
    records.attach_record(context, node, record)
    return node, record


def test_a_record_comes_back_whole(recorded):
    node, record = recorded
    assert plain(records.record_of(node)) == plain(record)


def test_the_attributes_say_it_in_short(recorded):
    node, _ = recorded
    assert node.GetAttribute("CTRestore.Method") == "nlm"
    assert "non-local means" in node.GetAttribute("CTRestore.MethodTitle")
    assert node.GetAttribute("CTRestore.Version") == "0.1.0"
    assert json.loads(node.GetAttribute("CTRestore.Parameters"))["patch"] == 3
    assert float(node.GetAttribute("CTRestore.Seconds")) == 1.25
    assert node.GetAttribute("CTRestore.ResearchUseOnly") == "true"


def test_the_record_is_seen_in_the_tree_beside_its_result(context, recorded):
    node, _ = recorded
    text = node.GetNodeReference(records.RECORD_ROLE)
    assert text.GetName() == "Result record"
    assert not text.GetHideFromEditors()
    tree = tree_of(context.scene)
    assert tree.GetItemParent(item_of(text)) == tree.GetItemParent(item_of(node))


def test_no_attribute_names_the_patient(context, node, small_ct):
    context.new_node("vtkMRMLTextNode", "JONES^MARY")
    records.attach_record(context, node, result_of(small_ct).provenance)
    every = [node.GetAttribute(name) for name in node.GetAttributeNames()]
    assert not any("JONES" in value for value in every)


def test_a_node_that_ctrestore_did_not_make_has_no_record(node):
    assert records.record_of(node) is None


def test_records_survive_an_mrb(context, recorded, tmp_path):
    node, record = recorded
    source = new_volume_node(context, "Source", result_of_volume(node))
    records.attach_record(context, node, record, source=source)
    scene = reopened(context, tmp_path / "scene.mrb")
    again = scene.GetFirstNodeByName("Result")
    assert plain(records.record_of(again)) == plain(record)
    assert again.GetNodeReference(records.SOURCE_ROLE).GetName() == "Source"


def result_of_volume(node):
    from ctrestorelib.mrml.volumes import volume_from_node

    return volume_from_node(node).volume


def test_a_long_record_survives_an_mrb(context, node, small_ct, tmp_path):
    long = {"curve": np.random.default_rng(0).normal(size=20_000).tolist()}
    record = replace(result_of(small_ct).provenance, report=long)
    records.attach_record(context, node, record)
    scene = reopened(context, tmp_path / "scene.mrb")
    assert plain(records.record_of(scene.GetFirstNodeByName("Result"))) == plain(record)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "damaged"),
        ("my own notes", "damaged"),
        ("[1, 2]", "damaged"),
        ('{"format": "something else"}', "changed after the run"),
    ],
)
def test_a_foreign_text_is_a_sentence(recorded, text, says):
    node, _ = recorded
    node.GetNodeReference(records.RECORD_ROLE).SetText(text)
    with pytest.raises(InputError, match=says):
        records.record_of(node)


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "x"}',
        '{"format": "ctrestore-provenance", "version": 1}',
        '{"format": "ctrestore-provenance", "version": 1, "inputs": 3}',
    ],
)
def test_a_foreign_record_without_digest_is_a_sentence_too(recorded, text):
    node, _ = recorded
    node.RemoveAttribute(records.DIGEST_ATTRIBUTE)
    node.GetNodeReference(records.RECORD_ROLE).SetText(text)
    with pytest.raises(InputError):
        records.record_of(node)


def test_one_changed_number_is_noticed(recorded):
    node, _ = recorded
    text = node.GetNodeReference(records.RECORD_ROLE)
    text.SetText(text.GetText().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(InputError, match="changed after the run"):
        records.record_of(node)


def test_other_line_ends_are_no_change(recorded):
    node, record = recorded
    text = node.GetNodeReference(records.RECORD_ROLE)
    text.SetText(text.GetText().replace("\n", "\r\n"))
    assert plain(records.record_of(node)) == plain(record)


def test_a_deleted_record_is_a_sentence(context, recorded):
    node, _ = recorded
    context.scene.RemoveNode(node.GetNodeReference(records.RECORD_ROLE))
    with pytest.raises(InputError, match="no longer in the scene"):
        records.record_of(node)


def test_a_new_record_replaces_the_old_one(context, recorded, small_ct):
    node, record = recorded
    before = node_ids(context.scene)
    records.attach_record(context, node, replace(record, seed=99))
    assert records.record_of(node).seed == 99
    assert len(node_ids(context.scene)) == len(before)


def test_a_record_that_two_nodes_share_is_kept(context, recorded, small_ct):
    node, record = recorded
    other = new_volume_node(context, "Copy", small_ct)
    text_id = node.GetNodeReferenceID(records.RECORD_ROLE)
    other.SetNodeReferenceID(records.RECORD_ROLE, text_id)
    records.attach_record(context, node, replace(record, seed=99))
    assert records.record_of(other).seed == 7


def test_a_failure_leaves_no_half_made_record(context, recorded, monkeypatch):
    node, record = recorded
    before = node_ids(context.scene)

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(records, "place_beside", full)
    monkeypatch.setattr(records, "title_of", full)
    with pytest.raises(MemoryError):
        records.attach_record(context, node, replace(record, seed=99))
    assert node_ids(context.scene) == before
    assert records.record_of(node).seed == 7


def test_clearing_takes_everything_of_ours(context, recorded):
    node, _ = recorded
    node.SetAttribute("Other.Extension", "stays")
    text_id = node.GetNodeReferenceID(records.RECORD_ROLE)
    records.clear_record(context, node)
    assert node.GetAttributeNames() == ("Other.Extension",)
    assert records.record_of(node) is None
    assert context.node(text_id) is None


def test_an_unknown_method_is_named_by_its_id(small_ct):
    record = replace(result_of(small_ct).provenance, method="of-the-future")
    assert records.title_of(record) == "of-the-future"


# -- recipes ------------------------------------------------------------------------------------
def _placed(text: str, files: dict[str, Path]) -> str:
    for name, path in files.items():
        assert name in text
        text = text.replace(name, path.as_posix())
    return text


@pytest.fixture
def denoised(small_ct, tmp_path):
    """Return the files of a denoising in a region under a mask, and its record."""
    source, mask = tmp_path / "ct.nrrd", tmp_path / "bone.nrrd"
    inside = np.zeros(small_ct.shape, np.float32)
    inside[:, 4:28, 4:36] = 1
    write_volume(small_ct, source)
    write_volume(small_ct.with_values(inside, Unit.GREY), mask)
    request = JobRequest(
        "anisotropic-diffusion",
        Inputs(volume=read_volume(source).volume, mask=inside > 0),
        strength=0.5,
        region_kji=((2, 20), (3, 30), (5, 33)),
        seed=3,
        budget=Budget.detect(),
    )
    files = {"INPUT": source, "MASK": mask, "OUTPUT.nrrd": tmp_path / "again.nrrd"}
    return run_job(request).provenance, files


@pytest.fixture
def reconstructed(small_ct, tmp_path):
    """Return the files of a reconstruction with physical noise weights, and its record."""
    from ctrestorelib.core.volume import VolumeGeometry
    from ctrestorelib.geometry.phantoms import water_ellipsoid
    from ctrestorelib.geometry.projections import ProjectionSet
    from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles

    scan = ConeBeamGeometry.circular(
        sod_mm=500, sdd_mm=800, angles_rad=equal_angles(24), detector_shape=(12, 30),
        pixel_mm=(4, 4),
    )  # fmt: skip
    line = water_ellipsoid((25, 25, 20)).project(scan)
    projections = ProjectionSet(line, scan, "line_integral", i0=1e4)
    stack, grid = tmp_path / "scan.mha", tmp_path / "grid.nrrd"
    write_projections(projections, stack)
    geometry = VolumeGeometry.from_spacing((8, 20, 20), (3, 3, 3))
    write_volume(small_ct.crop((slice(8), slice(20), slice(20))), tmp_path / "unused.nrrd")
    from ctrestorelib.core.volume import Volume

    write_volume(Volume(np.zeros(geometry.shape), geometry, Unit.HU), grid)
    request = JobRequest(
        "fdk", Inputs(projections=projections, grid=geometry), output_unit=Unit.PER_MM,
        mu_water_per_mm=0.02, budget=Budget.detect(),
    )  # fmt: skip
    files = {"PROJECTIONS": stack, "GRID": grid, "OUTPUT.nrrd": tmp_path / "again.nrrd"}
    return run_job(request).provenance, files


@pytest.mark.parametrize("case", ["denoised", "reconstructed"])
def test_the_command_line_makes_the_same_voxels(request, ctrestore, case):
    record, files = request.getfixturevalue(case)
    record = Provenance.from_json(plain(record))  # as a node gives it back
    command = _placed(records.command_line_of(record), files)
    program, *arguments = shlex.split(command)
    assert program == "ctrestore"
    ctrestore(*arguments, check=0)
    again = read_volume(files["OUTPUT.nrrd"]).volume
    assert array_sha256(again.values) == record.output_sha256


@pytest.mark.parametrize("case", ["denoised", "reconstructed"])
def test_the_script_makes_the_same_voxels(request, case):
    record, files = request.getfixturevalue(case)
    record = Provenance.from_json(plain(record))
    script = records.python_of(record)
    files = {k: v for k, v in files.items() if k != "GRID"}
    exec(compile(_placed(script, files), "recipe", "exec"), {})
    again = read_volume(files["OUTPUT.nrrd"]).volume
    assert array_sha256(again.values) == record.output_sha256


def test_a_unit_that_the_file_does_not_say_is_part_of_the_recipe(small_ct):
    record = replace(result_of(small_ct).provenance, options={"budget": {}, "region_kji": None})
    assert "--input-unit per_mm" in records.command_line_of(record, input_unit=Unit.PER_MM)
    assert "unit=Unit('per_mm')" in records.python_of(record, input_unit=Unit.PER_MM)


def test_values_are_quoted_and_signs_are_kept(small_ct):
    params = {"low": -2.5, "name": "two words", "fast": False, "auto": None}
    record = replace(result_of(small_ct).provenance, params=params)
    words = shlex.split(records.command_line_of(record))
    assert "--low=-2.5" in words
    assert words[words.index("--name") + 1] == "two words"
    assert "--no-fast" in words
    assert not any("auto" in word for word in words)


@pytest.mark.parametrize("roles", [(), ("split_0", "split_1"), ("volume", "hologram")])
def test_without_a_way_to_give_the_inputs_there_is_no_recipe(small_ct, roles):
    inputs = tuple(InputIdentity(r, "00", (1, 1, 1)) for r in roles)
    record = replace(result_of(small_ct).provenance, inputs=inputs)
    for recipe in (records.command_line_of, records.python_of):
        with pytest.raises(InputError, match="no recipe"):
            recipe(record)


def test_no_optional_parameter_has_a_default_that_none_would_hide():
    """A recorded None is left out of recipes, so it must be the default."""
    from ctrestorelib.core.params import fields_of
    from ctrestorelib.methods.registry import methods_of
    from ctrestorelib.restorer.spec import Kind

    for kind in Kind:
        for restorer in methods_of(kind).values():
            for field in fields_of(restorer.Params):
                assert not field.optional or field.default is None
