"""What files are, what they hold, and where files for the person go; no scene is needed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("slicer", exc_type=ImportError)

from ctrestorelib.apps.web.session import downloads
from ctrestorelib.apps.web.session.files import (
    Opened,
    is_geometry,
    is_projections,
    name_of,
    places_of,
    read_place,
)
from ctrestorelib.apps.web.session.routes import uploaded_paths
from ctrestorelib.core.errors import CTRestoreError, InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io.projections import write_projections
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.physics.scan_protocol import ScanProtocol


@pytest.fixture
def scan(small_ct):
    geometry = ScanProtocol(views=4).geometry_for(small_ct.geometry)
    shape = (geometry.views, *geometry.detector_shape)
    values = np.random.default_rng(3).random(shape, dtype=np.float32)
    return ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL)


@pytest.fixture
def series(tmp_path, small_ct):
    """Return a folder with a DICOM series as CTRestore writes it."""
    from ctrestorelib.io.dicom_export.writing import export_series

    folder = tmp_path / "series"
    export_series(small_ct, None, folder)
    return folder


@pytest.mark.parametrize("name", ["a knee.nii.gz", "knee.NRRD", "knee.mha", "knee.npz"])
def test_a_volume_is_read_with_its_name_and_geometry(tmp_path, small_ct, name):
    path = tmp_path / name
    write_volume(small_ct, path)
    read = read_place(path)
    assert isinstance(read, Opened)
    assert read.name == name.split(".")[0]
    assert isinstance(read.content, Volume)
    assert read.content.shape == small_ct.shape
    assert np.array_equal(read.content.values, small_ct.values)


def test_projections_and_their_geometry_are_one_thing(tmp_path, scan):
    write_projections(scan, tmp_path / "views.mha")
    found = places_of(sorted(tmp_path.iterdir()))
    assert [path.name for path in found] == ["views.mha"]
    assert is_projections(found[0])
    read = read_place(found[0])
    assert isinstance(read.content, ProjectionSet)
    assert isinstance(read.content.geometry, ConeBeamGeometry)
    assert np.array_equal(read.content.values, scan.values)


def test_a_folder_with_projections_is_opened_like_its_files(tmp_path, scan):
    write_projections(scan, tmp_path / "views.mha")
    assert [path.name for path in places_of([tmp_path])] == ["views.mha"]


def test_a_geometry_alone_is_told_apart_from_a_volume(tmp_path, scan):
    write_projections(scan, tmp_path / "views.mha")
    alone = tmp_path / "alone" / "views.geometry.json"
    alone.parent.mkdir()
    shutil.copy(tmp_path / "views.geometry.json", alone)
    assert places_of([alone]) == [alone]
    assert is_geometry(alone)
    assert not is_geometry(tmp_path / "views.mha")


def test_several_volumes_are_several_places(tmp_path, small_ct):
    for name in ("one.nrrd", "two.nii.gz"):
        write_volume(small_ct, tmp_path / name)
    names = [path.name for path in places_of([tmp_path])]
    assert names == ["one.nrrd", "two.nii.gz"]


def test_the_slices_of_a_series_are_one_folder(series, small_ct):
    slices = sorted(p for p in series.rglob("*") if p.is_file())
    assert len(slices) == small_ct.shape[0]
    (place,) = places_of(slices)
    read = read_place(place)
    assert read.content.shape == small_ct.shape
    assert len(read.sop_instance_uids) == small_ct.shape[0]
    assert set(read.instances) == set(read.sop_instance_uids)
    assert set(read.instances.values()) == {str(p) for p in slices}


def test_a_zip_archive_of_a_series_is_read(tmp_path, series, small_ct):
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", series)
    read = read_place(tmp_path / "study.zip")
    assert archive.endswith(read.name + ".zip")
    assert read.content.shape == small_ct.shape
    assert read.instances == {}


def test_two_series_are_asked_about(tmp_path, small_ct):
    from ctrestorelib.io.dicom_export.writing import export_series

    export_series(small_ct, None, tmp_path / "study" / "a")
    export_series(small_ct, None, tmp_path / "study" / "b")
    choice = read_place(tmp_path / "study")
    assert len(choice.entries) == 2
    title, number = choice.entries[1]
    assert "24 images of 40 x 32" in title
    assert read_place(choice.path, number).content.shape == small_ct.shape


def test_an_unknown_file_is_refused_with_what_is_read(tmp_path):
    (tmp_path / "letter.docx").write_bytes(b"PK")
    with pytest.raises(CTRestoreError, match=r"letter\.docx.*NIfTI"):
        read_place(tmp_path / "letter.docx")


def test_raw_data_belong_to_their_header(tmp_path):
    for name in ("a.mhd", "a.raw", "b.raw"):
        (tmp_path / name).touch()
    names = [path.name for path in places_of(sorted(tmp_path.iterdir()))]
    assert names == ["a.mhd", "b.raw"]


def test_a_name_never_holds_a_path(tmp_path):
    (tmp_path / "x.nii.gz").touch()
    assert name_of(tmp_path / "x.nii.gz") == "x"
    assert name_of(tmp_path) == tmp_path.name


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "..", "knee: left?"])
def test_a_download_stays_in_its_folder(tmp_path, name):
    path = downloads.free_path(tmp_path, name, ".nrrd")
    assert path.parent == tmp_path
    assert path.name == path.name.strip(" .")
    path.touch()
    again = downloads.free_path(tmp_path, name, ".nrrd")
    assert again != path
    assert again.name.endswith(" 2.nrrd")


def test_downloads_are_listed_the_newest_first_without_hidden_files(tmp_path):
    import os

    for number, name in enumerate(("old one.nrrd", "new & more.json", ".hidden")):
        (tmp_path / name).write_bytes(b"x" * 1500 * (number + 1))
        os.utime(tmp_path / name, (number, number))
    assert downloads.listed(tmp_path) == [
        {"name": "new & more.json", "href": "/download/new%20%26%20more.json", "size": "3.0 kB"},
        {"name": "old one.nrrd", "href": "/download/old%20one.nrrd", "size": "1.5 kB"},
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 bytes"), (2_500_000, "2.5 MB"), (3_000_000_000, "3.0 GB")]
)
def test_sizes_are_said_in_words(count, text):
    assert downloads.size_text(count) == text


def test_a_report_needs_two_volumes():
    with pytest.raises(InputError, match="two volumes"):
        downloads.report_entries([])


def test_links_inside_the_uploads_do_not_lead_out(tmp_path):
    import json

    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret.nrrd").touch()
    (tmp_path / "uploads" / "link.nrrd").symlink_to(tmp_path / "secret.nrrd")
    with pytest.raises(InputError, match="outside"):
        uploaded_paths(json.dumps({"paths": ["link.nrrd"]}), tmp_path)
