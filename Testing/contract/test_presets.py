"""Presets by task: all are valid and honest; files travel, and damaged ones are named as such."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from ctrestorelib.core.errors import InputError, ResourceError, UsageError
from ctrestorelib.core.params import params_from, params_to_json
from ctrestorelib.jobs import presets
from ctrestorelib.jobs.presets import (
    Preset,
    all_presets,
    find_preset,
    load_preset,
    save_preset,
    unusable_presets,
    user_preset_folder,
)
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.methods.registry import all_methods, method
from ctrestorelib.restorer.spec import Kind

BUILTIN = presets._builtin()
each = pytest.mark.parametrize("preset", BUILTIN, ids=lambda p: p.name)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """No test sees, or touches, the presets of the person who runs it."""
    folder = tmp_path / "own"
    monkeypatch.setenv("CTRESTORE_PRESETS", str(folder))
    return folder


def mine(**changes) -> Preset:
    fields = {
        "name": "mine", "title": "Mine", "summary": "For my knee scans.", "method": "nlm",
        "params": {"factor": 0.9, "search": 5}, "strength": 0.5,
    }  # fmt: skip
    return Preset(**(fields | changes))


@each
def test_every_preset_is_valid_for_its_method_and_runs(preset, inputs_for):
    restorer = method(preset.method)
    chosen = params_to_json(params_from(restorer.Params, preset.params))
    assert {n: chosen[n] for n in preset.params} == dict(preset.params)
    request = JobRequest(
        preset.method, inputs_for(restorer), params=preset.params, strength=preset.strength
    )
    assert request.plan().seconds > 0
    assert preset.builtin


@each
def test_every_preset_says_why_and_promises_nothing(preset):
    assert re.fullmatch(r"[a-z0-9-]+", preset.name)
    assert 100 < len(preset.summary) < 420
    assert preset.summary.endswith(".")
    assert preset.summary.isascii()
    for number in [*preset.params.values(), *([preset.strength] if preset.strength != 1 else [])]:
        if isinstance(number, float) and preset.method != "fdk":
            assert f"{number:g}" in preset.summary, f"{number} is not explained"
    forbidden = r"diagnos|clinical|safe|guarantee|best|perfect|patient|dose reduction|proven"
    assert not re.search(forbidden, preset.summary.lower())


@each
def test_presets_of_the_product_need_no_extra_package(preset):
    assert method(preset.method).spec.needs.packages == ()


def test_the_tasks_are_there_once():
    names = [p.name for p in BUILTIN]
    assert len(names) == len(set(names))
    denoising = {p.name for p in all_presets(Kind.DENOISER)}
    assert denoising == {
        "knee-bone", "pelvis", "low-dose-chest", "dental-cone-beam", "large-animal",
        "micro-ct-fossil", "soft-tissue",
    }  # fmt: skip
    reconstruction = {p.name for p in all_presets("reconstructor")}
    assert reconstruction == {"views-6-20", "views-20-60", "full-scan", "noisy-scan"}
    assert {p.name for p in all_presets()} == denoising | reconstruction


def test_no_name_is_that_of_a_methods_own_preset():
    taken = {name for restorer in all_methods().values() for name in restorer.spec.presets}
    assert not taken & {p.name for p in BUILTIN}


def test_files_travel(own_folder):
    path = own_folder / "mine.json"
    save_preset(mine(), path)
    assert load_preset(path) == mine()
    assert find_preset("mine") == mine()
    assert find_preset(str(path)) == mine()
    assert [p.name for p in all_presets(Kind.DENOISER)][-1] == "mine"
    assert all(p.name != "mine" for p in all_presets(Kind.RECONSTRUCTOR))
    assert list(own_folder.iterdir()) == [path]
    assert find_preset("yours") is None


def test_saving_again_replaces(own_folder):
    path = own_folder / "mine.json"
    save_preset(mine(), path)
    save_preset(mine(strength=1.0), path)
    assert load_preset(path).strength == 1.0


def test_a_name_of_the_product_is_taken(own_folder):
    with pytest.raises(UsageError, match="comes with CTRestore"):
        save_preset(mine(name="pelvis"), own_folder / "pelvis.json")
    assert not own_folder.exists()


def test_a_name_is_listed_once(own_folder):
    save_preset(mine(), own_folder / "a.json")
    save_preset(mine(strength=0.1), own_folder / "b.json")
    assert [p.strength for p in all_presets() if p.name == "mine"] == [0.5]
    assert "b.json is left out" in unusable_presets()[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": " "}, "name and a title"),
        ({"method": "nlmm"}, "no method"),
        ({"params": {"factor": 99}}, "factor"),
        ({"params": {"strenght": 1}}, "no parameter"),
        ({"strength": 1.5}, "between 0"),
        ({"strength": float("nan")}, "between 0"),
        ({"method": "tv", "params": {}, "strength": 0.5}, "belongs to denoisers"),
    ],
)
def test_an_invalid_preset_is_not_constructed(changes, words):
    with pytest.raises(UsageError, match=words):
        mine(**changes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[1, 2]", "is not a preset"),
        (b'{"format": "ctrestore-provenance", "version": 1}', "is not a preset"),
        ({"version": 2}, "newer CTRestore"),
        ({"version": "1"}, "no valid format version"),
        ({"name": 7}, "lacks a valid name"),
        ({"params": [1], "strength": "full"}, "lacks a valid params and strength"),
        ({"strength": True}, "lacks a valid strength"),
        ({"method": "diffusion-of-next-year"}, "cannot be used: There is no method"),
        ({"params": {"factor": "much"}}, "cannot be used: Smoothing"),
        ({"params": {"nothing": 1}}, "cannot be used: There is no parameter"),
        ({"strength": 3}, "cannot be used: Strength"),
    ],
)
def test_what_is_no_preset_is_refused_in_words(own_folder, content, words):
    own_folder.mkdir()
    path = own_folder / "odd.json"
    if isinstance(content, dict):
        content = json.dumps(mine().to_json() | content).encode()
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_preset(path)
    assert caught.value.hint
    assert str(own_folder) not in str(caught.value)
    assert len(unusable_presets()) == 1
    assert len(all_presets()) == len(BUILTIN)


def test_a_missing_file_is_named(own_folder):
    with pytest.raises(InputError, match=r"gone\.json cannot be read"):
        find_preset(str(own_folder / "gone.json"))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ResourceError):
        save_preset(mine(), blocker / "mine.json")


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CONFIG_HOME", "ctrestore/presets"),
        ("win32", "APPDATA", "ctrestore/presets"),
        ("darwin", "HOME", "Library/Application Support/ctrestore/presets"),
    ],
)
def test_each_system_has_its_place(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.delenv("CTRESTORE_PRESETS")
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert user_preset_folder() == tmp_path / expected


def test_the_command_lists_them(ctrestore, own_folder):
    save_preset(mine(), own_folder / "mine.json")
    (own_folder / "odd.json").write_text("{")
    done = ctrestore("presets", check=0)
    assert "knee-bone: Knee" in done.stdout
    assert "--method nlm --factor 0.9 --search 5 --strength 0.5" in done.stdout
    assert "odd.json" in done.stderr
    listed = json.loads(ctrestore("presets", "--json", "--kind", "reconstructor", check=0).stdout)
    assert {p["name"] for p in listed} == {p.name for p in BUILTIN if p.kind.value[0] == "r"}


@pytest.fixture
def scan_file(tmp_path, small_ct):
    from ctrestorelib.io.volumes import write_volume

    path = tmp_path / "scan.nrrd"
    write_volume(small_ct, path)
    return path


def test_denoise_takes_a_task_a_file_or_the_methods_own(ctrestore, scan_file, own_folder):
    save_preset(mine(method="bilateral", params={"radius": 0.8}), own_folder / "mine.json")
    runs = {
        ("low-dose-chest",): ("anisotropic-diffusion", {"factor": 1.0}, 0.85),
        (str(own_folder / "mine.json"),): ("bilateral", {"radius": 0.8}, 0.5),
        ("mine", "--radius", "1.5", "--strength", "1"): ("bilateral", {"radius": 1.5}, 1.0),
        ("strong", "-m", "tv-denoise"): ("tv-denoise", {"factor": 1.4}, 1.0),
    }
    for words, (method_id, params, strength) in runs.items():
        out = scan_file.with_name("out.nrrd")
        done = ctrestore("denoise", scan_file, out, "--json", "--overwrite", "--preset", *words,
                         check=0)  # fmt: skip
        record = json.loads(done.stdout)["provenance"]
        assert (record["method"], record["strength"]) == (method_id, strength)
        assert record["params"].items() >= params.items()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "nothing"), "There is no preset 'nothing'"),
        (("--preset", "knee-bone", "-m", "bilateral"), "made for 'nlm', not for 'bilateral'"),
        (("--preset", "views-6-20"), "ctrestore reconstruct"),
        (("--preset", "gone.json"), "gone.json cannot be read"),
    ],
)
def test_an_unfit_preset_is_refused(ctrestore, scan_file, words, message):
    done = ctrestore("denoise", scan_file, scan_file.with_name("out.nrrd"), *words)
    assert done.returncode in (2, 3)
    assert message in done.stderr
    assert not scan_file.with_name("out.nrrd").exists()


def test_help_shows_the_options_of_the_presets_method(ctrestore):
    text = ctrestore("denoise", "--preset", "low-dose-chest", "--help", check=0).stdout
    assert "--iterations" in text
    assert "--search" not in text
    assert "--window" in ctrestore("reconstruct", "--preset=full-scan", "--help", check=0).stdout
