"""ctrestore list, info and plan; how wrong words are answered."""

from __future__ import annotations

import json

import pytest

from ctrestorelib.methods.registry import all_methods


def test_list_names_every_method(ctrestore):
    listed = json.loads(ctrestore("list", "--json", check=0).stdout)
    assert {m["id"] for m in listed} == set(all_methods())
    assert all(m["parameters"]["properties"] is not None for m in listed)


def test_list_can_be_restricted(ctrestore):
    text = ctrestore("list", "--kind", "denoiser", check=0).stdout
    assert "nlm" in text
    assert "fdk" not in text


def test_info_tells_options_and_source(ctrestore):
    text = ctrestore("info", "nlm", check=0).stdout
    assert "--sigma" in text
    assert "doi:" in text


@pytest.mark.parametrize("method", ["nlm", "tv"])
def test_help_shows_the_options_of_the_named_method(ctrestore, method):
    command = "denoise" if method == "nlm" else "reconstruct"
    text = ctrestore(command, "--method", method, "--help", check=0).stdout
    for name in all_methods()[method].Params.__dataclass_fields__:
        assert "--" + name.replace("_", "-") in text


def test_a_misspelt_method_is_corrected(ctrestore):
    done = ctrestore("info", "nlmm", check=2)
    assert "Did you mean 'nlm'?" in done.stderr


def test_a_misspelt_option_is_corrected(ctrestore):
    done = ctrestore("denoise", "a.nii", "b.nii", "--method", "nlm", "--sigmaa", "3", check=2)
    assert "--sigma" in done.stderr


def test_errors_are_json_when_asked(ctrestore):
    record = json.loads(ctrestore("info", "nlmm", "--json", check=2).stdout)
    assert record["error"]["type"] == "UsageError"
    assert "nlm" in record["error"]["hint"]
    record = json.loads(ctrestore("denoise", "--json", check=2).stdout)
    assert record["error"]["exit_code"] == 2


def test_plan_without_an_input_file(ctrestore):
    plan = json.loads(ctrestore("plan", "nlm", "--shape", "512,512,300", "--json", check=0).stdout)
    volume_bytes = 512 * 512 * 300 * 4
    assert volume_bytes < plan["peak_host_bytes"] < 5 * volume_bytes
    assert plan["seconds"] > 1


def test_plan_refuses_what_does_not_fit(ctrestore):
    done = ctrestore("plan", "nlm", "--shape", "512,512,300", "--memory-gb", "0.3", check=4)
    assert "GB" in done.stderr


def test_a_missing_file_is_an_input_error(ctrestore, tmp_path):
    done = ctrestore("denoise", tmp_path / "none.nii", tmp_path / "out.nii", check=3)
    assert "none.nii" in done.stderr
