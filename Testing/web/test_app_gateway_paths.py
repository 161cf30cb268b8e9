"""Paths and names from outside: nothing leads out of the folders that were allowed."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrestorelib.apps.web.gateway.paths import (
    MAX_DEPTH,
    MAX_NAME_BYTES,
    Names,
    confine,
    find_download,
    find_upload,
    safe_name,
    safe_relative,
)
from ctrestorelib.core.errors import InputError


@pytest.fixture
def scans(tmp_path):
    """Return an allowed folder with one scan; a secret lies beside it."""
    root = tmp_path / "scans"
    (root / "knee").mkdir(parents=True)
    (root / "knee" / "ct.nii").write_bytes(b"voxels")
    (tmp_path / "secret.nii").write_bytes(b"secret")
    (tmp_path / "scans-private").mkdir()
    (tmp_path / "scans-private" / "x.nii").write_bytes(b"secret")
    return root


def test_a_path_inside_an_allowed_folder_is_returned_resolved(scans):
    assert confine(str(scans / "knee" / ".." / "knee" / "ct.nii"), [scans]) == (
        scans / "knee" / "ct.nii"
    )
    assert confine(scans, [Path("/nowhere"), scans]) == scans


@pytest.mark.parametrize("path", ["../secret.nii", "knee/../../secret.nii", "..", "/etc/passwd",
                                  "../scans-private/x.nii", "../missing.nii"])  # fmt: skip
def test_a_path_outside_is_refused_and_nothing_is_told_about_it(scans, path):
    with pytest.raises(InputError, match="outside the folders") as refused:
        confine(scans / path, [scans])
    assert str(path) not in str(refused.value)


def test_links_are_followed_before_the_check(scans):
    (scans / "link.nii").symlink_to(scans.parent / "secret.nii")
    (scans / "folder").symlink_to(scans.parent)
    (scans / "inside.nii").symlink_to(scans / "knee" / "ct.nii")
    (scans / "loop").symlink_to(scans / "loop")
    for name in ("link.nii", "folder/secret.nii", "folder/scans-private"):
        with pytest.raises(InputError, match="outside"):
            confine(scans / name, [scans])
    with pytest.raises(InputError):
        confine(scans / "loop", [scans])
    assert confine(scans / "inside.nii", [scans]) == scans / "knee" / "ct.nii"


def test_an_allowed_folder_may_itself_be_a_link(scans):
    alias = scans.parent / "alias"
    alias.symlink_to(scans)
    assert confine(alias / "knee" / "ct.nii", [alias]) == scans / "knee" / "ct.nii"


@pytest.mark.parametrize("path", ["", "knee/ct.nii", "~/ct.nii", "/scans/\0"])
def test_only_full_paths_are_taken(scans, path):
    with pytest.raises(InputError, match="full path"):
        confine(path, [scans])


def test_a_missing_file_inside_is_said_to_be_missing(scans):
    with pytest.raises(InputError, match="no such file"):
        confine(scans / "missing.nii", [scans])


def test_without_allowed_folders_nothing_is_loaded_by_path(scans):
    with pytest.raises(InputError, match="not offered"):
        confine(scans / "knee" / "ct.nii", [])


PATHS = st.text(min_size=1, max_size=60) | st.lists(
    st.sampled_from(["..", ".", "a", "CON", "x.nii.gz", "", " ", "C:", "\\", "/", "\0", "é",
                     "..."]), min_size=1, max_size=6).map("/".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(PATHS)
def test_an_uploaded_name_either_stays_inside_or_is_refused(path):
    try:
        parts = safe_relative(path)
    except InputError:
        return
    assert parts
    root = Path("/root-of-upload")
    place = Path(os.path.normpath(root.joinpath(*parts)))
    assert root in place.parents
    assert len(place.relative_to(root).parts) == len(parts)
    for part in parts:
        assert not part.startswith(".")
        assert not part.endswith((".", " "))
        assert not set(part) & set('/\\:*?"<>|\0\n')
        assert len(part.encode()) <= MAX_NAME_BYTES + 1
        assert part.split(".")[0].lower() not in ("con", "nul", "aux", "prn", "com1", "lpt9")
        assert safe_name(part) == part  # a safe name is left as it is


@pytest.mark.parametrize("path", ["../a", "a/../../b", "a/..", "..", "/etc/passwd", "C:\\a", "c:a",
                                  "\\\\server\\a", "a/\0b", "a\\..\\b", " .. /a"])  # fmt: skip
def test_names_that_try_to_leave_are_refused(path):
    with pytest.raises(InputError, match="outside the upload"):
        safe_relative(path)


@pytest.mark.parametrize("path", ["", "/".join("a" * (MAX_DEPTH + 1)), ".", "./", "a" * 3000])
def test_empty_and_endless_names_are_refused(path):
    with pytest.raises(InputError, match="without a name"):
        safe_relative(path)


def test_harmless_names_and_their_suffixes_are_kept():
    assert safe_relative("Knie links/IM 0001.dcm") == ("Knie links", "IM 0001.dcm")
    assert safe_name("Kopf-Größe_(1).nii.gz") == "Kopf-Größe_(1).nii.gz"
    assert safe_name(unicodedata.normalize("NFD", "Größe.nrrd")) == "Größe.nrrd"
    long = safe_name("ä" * 200 + ".nii.gz")
    assert long.endswith("ä.nii.gz")
    assert len(long.encode()) <= MAX_NAME_BYTES


def test_names_that_became_the_same_get_numbers():
    names = Names()
    assert names.place(("a", "x.nii.gz")) == ("a", "x.nii.gz")
    assert names.place(("a", "X.nii.gz")) == ("a", "X-2.nii.gz")
    assert names.place(("a", "x.nii.gz")) == ("a", "x-3.nii.gz")
    assert names.place(("b", "x.nii.gz")) == ("b", "x.nii.gz")
    assert names.place(("B",)) == ("B-2",)  # B is a folder already
    with pytest.raises(InputError, match="same name"):
        names.place(("a", "x.nii.gz", "y"))


@pytest.fixture
def person(tmp_path):
    """Return a person's folder with one upload of two entries and one result."""
    upload = tmp_path / "uploads" / "0123456789abcdef"
    (upload / "series").mkdir(parents=True)
    (upload / "a.nii").write_bytes(b"1")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "result.nii.gz").write_bytes(b"2")
    return tmp_path


def test_uploads_are_found_by_their_ids(person):
    upload = person / "uploads" / "0123456789abcdef"
    assert find_upload(person, upload.name) == upload
    assert find_upload(person, f"{upload.name}/0") == upload / "a.nii"
    assert find_upload(person, f"{upload.name}/1") == upload / "series"


@pytest.mark.parametrize("upload_id", ["", "..", "../downloads", "0123456789abcdeg",
                                       "0123456789abcdef/2", "0123456789abcdef/-1",
                                       "0123456789abcdef/../..", "0123456789abcdef/a.nii",
                                       "0123456789abcdef\n", "fedcba9876543210"])  # fmt: skip
def test_other_ids_find_nothing(person, upload_id):
    with pytest.raises(InputError, match="does not exist"):
        find_upload(person, upload_id)


def test_a_link_in_place_of_an_upload_is_no_upload(person):
    (person / "uploads" / "1111111111111111").symlink_to(person / "downloads")
    with pytest.raises(InputError):
        find_upload(person, "1111111111111111")


def test_results_are_found_by_name_and_nothing_else_is(person):
    assert find_download(person, "result.nii.gz").read_bytes() == b"2"
    (person / "downloads" / "folder").mkdir()
    (person / "downloads" / ".hidden").write_bytes(b"3")
    (person / "downloads" / "link").symlink_to(person / "uploads" / "0123456789abcdef" / "a.nii")
    for name in ("", ".", "..", "folder", ".hidden", "link", "missing", "../uploads", "a\\b",
                 "folder/../result.nii.gz", "result.nii.gz\0"):  # fmt: skip
        with pytest.raises(InputError, match="no such file"):
            find_download(person, name)
