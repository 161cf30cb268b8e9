"""Released weights: found, checked, and refused where anything about them is wrong."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.weights import store
from ctrestorelib.weights.store import released, sha256_of, weights_file
from ctrestorelib.weights.tensors import read_tensors


@pytest.fixture
def folder(tmp_path):
    """A folder with one released network of a few bytes."""
    files = {}
    for kind in store.FORMATS:
        path = tmp_path / f"tiny.{kind}"
        path.write_bytes(kind.encode() * 10)
        files[kind] = {"file": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
    manifest = {"networks": {"tiny": {"files": files, "about": {"width": 4}}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def change(folder, **values):
    path = folder / "manifest.json"
    record = json.loads(path.read_text())
    record["networks"]["tiny"]["files"]["onnx"].update(values)
    path.write_text(json.dumps(record))


def test_what_ships_is_whole_and_small():
    networks = released()
    assert {"ctd-standard", "ctd-fast"} <= set(networks)
    for name, network in networks.items():
        for kind, entry in network.files.items():
            assert weights_file(name, kind).stat().st_size == entry["bytes"] <= 16e6
        assert network.card.read_text().startswith(f"# {name}")
    kinds = {p.suffix for p in store.FOLDER.iterdir() if p.is_file()}
    assert kinds <= {".py", ".json", ".md", ".onnx", ".safetensors"}


def test_an_altered_file_is_refused_also_after_it_was_good(folder):
    path = weights_file("tiny", "onnx", folder)
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        weights_file("tiny", "onnx", folder)
    assert weights_file("tiny", "safetensors", folder).name == "tiny.safetensors"


def test_a_missing_or_unknown_file_is_named(folder):
    (folder / "tiny.onnx").unlink()
    with pytest.raises(WeightsError, match=r"tiny\.onnx are missing"):
        weights_file("tiny", "onnx", folder)
    with pytest.raises(WeightsError, match="no weights 'huge' as 'onnx'; released: tiny"):
        weights_file("huge", "onnx", folder)
    with pytest.raises(WeightsError, match="as 'pickle'"):
        weights_file("tiny", "pickle", folder)


@pytest.mark.parametrize("name", ["../tiny.onnx", "tiny.pkl", "/etc/passwd"])
def test_the_list_cannot_point_elsewhere(folder, name):
    change(folder, file=name)
    with pytest.raises(WeightsError, match=r"expected a \.onnx file"):
        weights_file("tiny", "onnx", folder)


def test_a_file_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr(store, "LARGEST_BYTES", 20)
    with pytest.raises(WeightsError, match="MB may be"):
        weights_file("tiny", "onnx", folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"networks": 3}'])
def test_a_damaged_list_is_named(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(WeightsError, match="manifest"):
        released(folder)


def test_tensors_are_read_without_their_package():
    safetensors = pytest.importorskip("safetensors.numpy")
    path = weights_file("ctd-fast", "safetensors")
    expected = safetensors.load_file(path)
    found = read_tensors(path)
    assert found.arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert found.about["slices"] == 5


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_cut_file_is_refused(tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights_file("ctd-fast", "safetensors").read_bytes()[:keep])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_tensors(path)
