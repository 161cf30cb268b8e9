"""Which method people get who name none."""

from __future__ import annotations

import json

import pytest

from ctrestorelib.methods import registry
from ctrestorelib.methods.registry import PREFERRED, default_method, lacks, menu_of, method
from ctrestorelib.restorer import spec
from ctrestorelib.restorer.spec import Kind
from ctrestorelib.weights import store

RUNTIMES = {"onnxruntime", "torch"}


@pytest.fixture
def installed(monkeypatch):
    """Return a function that makes only some of the runtimes look as if installed."""
    usual = spec._importable

    def only(*packages):
        monkeypatch.setattr(
            spec,
            "_importable",
            lambda name: name in packages or (name not in RUNTIMES and usual(name)),
        )

    return only


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_the_learned_denoiser_is_the_default_with_either_runtime(installed, runtime):
    installed(runtime)
    assert default_method(Kind.DENOISER).spec.id == "ctd"


def test_the_learned_reconstructor_is_the_default_where_torch_is(installed):
    installed("torch")
    assert default_method(Kind.RECONSTRUCTOR).spec.id == "cts"


def test_without_a_runtime_it_is_a_classical_one(installed):
    installed()
    assert default_method(Kind.DENOISER).spec.id == "nlm"
    assert default_method(Kind.RECONSTRUCTOR).spec.id == "tv-views"
    assert "onnxruntime or torch" in lacks(method("ctd"))


def test_without_weights_it_is_a_classical_one(installed, monkeypatch, tmp_path):
    installed("onnxruntime")
    for file in store.FOLDER.glob("*"):
        if file.is_file() and file.name != "ctd-fast.onnx":
            (tmp_path / file.name).symlink_to(file)
    absent = store.absent_weights
    monkeypatch.setattr(registry, "absent_weights", lambda names: absent(names, tmp_path))
    assert default_method(Kind.DENOISER).spec.id == "nlm"
    assert lacks(method("ctd")).startswith("Lacks its weights (ctd-fast).")
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps({"networks": {}}))
    assert "ctd-standard, ctd-fast" in lacks(method("ctd"))


@pytest.mark.parametrize("kind", list(Kind))
def test_menus_begin_with_the_preferred_and_hold_all(kind):
    menu = menu_of(kind)
    assert tuple(menu[: len(PREFERRED[kind])]) == PREFERRED[kind]
    assert sorted(menu) == sorted(registry.methods_of(kind))
