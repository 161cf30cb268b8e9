"""Enhanced and legacy converted multi-frame CT: frames in any order, values of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_seeds as make

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.io.dicom_series import list_series, read_series

STORED = np.random.default_rng(5).integers(0, 1500, (6, 8, 7)).astype(np.uint16)
PLACES = [(-3.0, 4.0, 2.0 * n) for n in range(6)]
CLASSES = [make.ENHANCED_CT, make.LEGACY_ENHANCED_CT]


def written(tmp_path, ds, syntax=make.EXPLICIT) -> Path:
    path = tmp_path / "file.dcm"
    path.write_bytes(make.packed(ds, syntax))
    return path


@pytest.mark.parametrize("syntax", [make.IMPLICIT, make.EXPLICIT, make.BIG, make.DEFLATED])
@pytest.mark.parametrize("sop_class", CLASSES)
def test_frames_become_slices_whatever_their_order(tmp_path, sop_class, syntax):
    order = np.array([4, 0, 5, 2, 1, 3])
    intercepts = [-1000.0 - n for n in order]
    ds = make.enhanced(
        STORED[order], [PLACES[n] for n in order], intercepts=intercepts, sop_class=sop_class
    )
    read = read_series(written(tmp_path, ds, syntax))
    expected = 2.0 * STORED - 1000 - np.arange(6)[:, None, None]
    np.testing.assert_array_equal(read.volume.values, expected)
    geometry = read.volume.geometry
    np.testing.assert_allclose(geometry.spacing_mm, (0.6, 0.5, 2.0))
    np.testing.assert_allclose(geometry.origin_lps_mm, (-3, 4, 0))
    assert read.info.kind == "ct"
    assert read.sop_instance_uids == ("1.2.3.4.5.1",) * 6


def test_shared_rescale_counts_for_all_frames(tmp_path):
    read = read_series(written(tmp_path, make.enhanced(STORED, PLACES, shared_rescale=True)))
    np.testing.assert_array_equal(read.volume.values, 2.0 * STORED - 1024)


def test_sequences_of_undefined_length_are_read(tmp_path):
    ds = make.enhanced(STORED, PLACES)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        ds[keyword].is_undefined_length = True
        for item in ds[keyword].value:
            item.is_undefined_length_sequence_item = True
    read = read_series(written(tmp_path, ds))
    np.testing.assert_array_equal(read.volume.values, 2.0 * STORED - 1024)


def test_compressed_frames_are_read_one_by_one(tmp_path):
    ds = make.enhanced(STORED, PLACES)
    make.set_frames(ds, make.RLE, [make.rle_frame(s) for s in STORED])
    read = read_series(written(tmp_path, ds, make.RLE))
    np.testing.assert_array_equal(read.volume.values, 2.0 * STORED - 1024)


def test_tilted_frames_are_sheared_or_straightened(tmp_path):
    places = [(0, 0.5 * n, 2.0 * n) for n in range(6)]
    path = written(tmp_path, make.enhanced(STORED, places))
    sheared = read_series(path)
    assert {n.code for n in sheared.notes} == {"gantry-tilt"}
    assert read_series(path, resample_tilt=True).volume.geometry.is_orthogonal


def test_stacks_in_one_file_are_refused(tmp_path):
    places = PLACES[:3] + [(90, 0, 2.0 * n) for n in range(3)]
    ds = make.enhanced(STORED, places, stacks=["Geheim", "Geheim", "Geheim", "2", "2", "2"])
    with pytest.raises(GeometryError, match=r"holds 2 stacks \(3 \+ 3 frames\)") as caught:
        read_series(written(tmp_path, ds))
    assert "Geheim" not in str(caught.value)


def test_moments_in_one_file_are_refused(tmp_path):
    ds = make.enhanced(STORED, PLACES[:3] * 2, moments=[1, 1, 1, 2, 2, 2])
    with pytest.raises(GeometryError, match=r"holds 2 moments \(3 \+ 3 frames\)"):
        read_series(written(tmp_path, ds))


@pytest.mark.parametrize(
    ("ds", "words"),
    [
        (lambda: make.enhanced(STORED, PLACES[:3] * 2), "lie at the position of another"),
        (lambda: make.enhanced(STORED, [*PLACES[:5], (-3, 4, 40)]), "missing|uneven"),
        (
            lambda: make.enhanced(
                STORED, PLACES, orientations=[(1, 0, 0, 0, 1, 0)] * 5 + [(1, 0, 0, 0, 0, 1)]
            ),
            "1 of 6 images are oriented differently",
        ),
    ],
)
def test_frames_of_no_single_grid_are_refused(tmp_path, ds, words):
    with pytest.raises(GeometryError, match=words):
        read_series(written(tmp_path, ds()))


def test_frames_without_description_are_refused(tmp_path):
    ds = make.enhanced(STORED, PLACES)
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:4]
    with pytest.raises(InputError, match="claims 6 frames but describes 4"):
        read_series(written(tmp_path, ds))
    del ds.PerFrameFunctionalGroupsSequence
    with pytest.raises(GeometryError, match="state no valid position"):
        read_series(written(tmp_path, ds))


def test_two_files_of_one_series_are_one_volume(tmp_path):
    for n, part in enumerate((slice(0, 3), slice(3, 6))):
        ds = make.enhanced(STORED[part], PLACES[part])
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.77.{n}"
        (tmp_path / f"{n}.dcm").write_bytes(make.packed(ds))
    assert len(list_series(tmp_path)) == 1
    np.testing.assert_array_equal(read_series(tmp_path).volume.values, 2.0 * STORED - 1024)
