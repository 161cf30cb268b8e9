"""The demo from end to end, small: what it writes, what it says, and what it admits."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from ctrestorelib.apps import demo as demo_module
from ctrestorelib.apps.demo import run_demo
from ctrestorelib.apps.demo_cases import DemoSize, own_case, resampled
from ctrestorelib.apps.demo_results import Ruler
from ctrestorelib.apps.pictures import Grey, Stack, png_uri
from ctrestorelib.core.errors import Cancelled, InputError, ResourceError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance, array_sha256
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.knee import knee_phantom
from ctrestorelib.io.volumes import read_volume, write_volume
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.runner import JobResult
from ctrestorelib.restorer.plan import Budget

TINY = DemoSize(voxels=40, sparse_voxels=24, full_views=48, own_box_kji=(12, 40, 40))
SMALLEST = DemoSize(voxels=24, sparse_voxels=24, full_views=20)
METHODS = ("nlm", "fdk")


@pytest.fixture
def in_process(monkeypatch):
    """Run methods in this process: the worker is tested elsewhere, and once below."""

    def run(request, on_event=None, is_cancelled=None):
        budget = Budget(host_bytes=2**32, threads=2)
        job = Job(emit=on_event, is_cancelled=is_cancelled, seed=request.seed)
        estimate = execute(request, budget, job)
        record = Provenance(
            request.method_id, "1", {}, (), {}, request.seed, report=dict(estimate.report)
        )
        return JobResult(estimate.volume, record)

    monkeypatch.setattr(demo_module, "run_job", run)
    return run


@pytest.fixture(scope="module")
def knee_demo(tmp_path_factory):
    """One tiny demo with worker processes, and what was said."""
    out = tmp_path_factory.mktemp("demo")
    said: list[str] = []
    events: list[dict] = []
    job = Job(emit=events.append, seed=3)
    result = run_demo(out, size=TINY, views=6, methods=METHODS, seed=3, job=job, tell=said.append)
    return result, said, events


def test_every_method_appears_with_its_numbers(knee_demo):
    result, said, _ = knee_demo
    low_dose, sparse = result.parts
    assert [e.name for e in low_dose.entries] == ["truth", "original", "nlm"]
    assert [e.name for e in sparse.entries] == ["truth", "fdk"]
    assert low_dose.left_out == sparse.left_out == ()
    for entry in (*low_dose.entries[1:], *sparse.entries[1:]):
        assert {"rmse", "psnr", "ssim", "noise"} <= set(entry.measures)
        assert entry.seconds > 0
    assert "residual_structure" in low_dose.entries[2].measures
    assert any("few" in line or "only 6 views" in line for line in said)


def test_many_views_beat_few(knee_demo):
    result, _, _ = knee_demo
    (_, original, _), (_, fdk) = (part.entries for part in result.parts)
    assert float(original.measures["psnr"]) > float(fdk.measures["psnr"])


def test_volumes_and_sidecars_lie_in_the_folder(knee_demo):
    result, _, _ = knee_demo
    folder = result.report.parent
    for part in result.parts:
        for entry in part.entries:
            stored = read_volume(folder / entry.file, unit=Unit.HU).volume
            assert stored.geometry.matches(entry.volume.geometry)
            np.testing.assert_array_equal(stored.values, entry.volume.values)
            if entry.name != "truth":
                record = Provenance.read(folder / entry.file.replace(".nii", ".json"))
                assert record.output_sha256 == array_sha256(stored.values)
                assert record.seed == 3
    assert (folder / "low_dose_scan.mha").exists()
    assert (folder / "sparse_scan.geometry.json").exists()


def test_summary_repeats_the_numbers_of_the_page(knee_demo):
    result, _, _ = knee_demo
    record = json.loads(result.summary.read_text(encoding="utf-8"))
    assert record["format"] == "ctrestore-demo"
    entry = record["parts"][1]["entries"][1]
    assert entry["name"] == "fdk"
    assert entry["measures"]["psnr"]["value"] == pytest.approx(
        float(result.parts[1].entries[1].measures["psnr"])
    )
    page = result.report.read_text(encoding="utf-8")
    assert f"{entry['measures']['psnr']['value']:.1f}" in page


def test_page_stands_alone(knee_demo):
    result, _, _ = knee_demo
    page = result.report.read_text(encoding="utf-8")
    pictures = 4 * sum(len(p.entries) for p in result.parts) - len(result.parts)
    assert page.count("<img ") == pictures  # the first of a part has no difference picture
    assert not re.search(r"""(src|href)=['"]?https?:""", page)
    assert "Research use only" in page
    links = re.findall(r"href='([^']+)'", page)
    assert links
    assert all((result.report.parent / link).exists() for link in links)


def test_progress_reaches_the_end_and_never_goes_back(knee_demo):
    _, _, events = knee_demo
    fractions = [e["fraction"] for e in events if e["kind"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


def test_own_scan_is_denoised_and_scanned(tmp_path, in_process):
    grid = VolumeGeometry.from_spacing((20, 64, 64), (2, 2, 5), origin_lps_mm=(10, 20, -300))
    knee = knee_phantom(VolumeGeometry.from_spacing((20, 64, 64), (2, 2, 5)))
    noisy = knee.values + np.random.default_rng(0).normal(0, 25, knee.shape)
    write_volume(Volume(noisy, grid, Unit.HU), tmp_path / "mine.nii.gz")
    size = DemoSize(sparse_voxels=32, own_box_kji=(12, 48, 48))
    result = run_demo(
        tmp_path / "out", input_path=tmp_path / "mine.nii.gz", size=size, views=6,
        methods=("nlm", "os-sart"),
    )  # fmt: skip
    low_dose, sparse = result.parts
    assert low_dose.entries[0].volume.shape == (12, 48, 48)
    assert "psnr" not in low_dose.entries[1].measures
    assert float(low_dose.entries[1].measures["noise"]) < float(
        low_dose.entries[0].measures["noise"]
    )
    assert sparse.entries[0].volume.values.size <= 34**3
    assert "psnr" in sparse.entries[1].measures
    assert any("reduced to" in note for note in result.notes)
    assert any("as the truth" in note for note in result.notes)


def test_grey_values_are_denoised_only(tmp_path):
    rng = np.random.default_rng(1)
    volume = Volume(
        rng.normal(100, 9, (12, 24, 24)),
        VolumeGeometry.from_spacing((12, 24, 24), (1, 1, 1)),
        Unit.GREY,
    )
    write_volume(volume, tmp_path / "bone.tif")
    case = own_case(tmp_path / "bone.tif", TINY)
    assert case.sparse is None
    assert any("no physical unit" in note for note in case.notes)


def test_reduced_copy_lies_where_the_scan_lies(tmp_path):
    grid = VolumeGeometry.from_spacing((24, 60, 60), (2, 2, 4), origin_lps_mm=(-70, 40, 900))
    k, j, i = np.mgrid[:24, :60, :60]
    ramp = Volume(10.0 * j + 5.0 * i - 3.0 * k, grid, Unit.HU)
    write_volume(ramp, tmp_path / "ramp.nii.gz")
    case = own_case(tmp_path / "ramp.nii.gz", DemoSize(sparse_voxels=20))
    truth = case.sparse.truth
    assert truth.shape == (13 + 4, 17 + 4, 17 + 4)  # two voxels of air on every side
    at = np.array([[10, 9, 8], [5, 12, 6]])  # i, j, k
    i0, j0, k0 = grid.to_ijk(truth.geometry.to_world(at)).T
    found = [truth.values[k, j, i] for i, j, k in at]
    np.testing.assert_allclose(found, 10 * j0 + 5 * i0 - 3 * k0, atol=0.5)


def test_what_a_method_refuses_is_shown_and_the_rest_goes_on(tmp_path, monkeypatch, in_process):
    def starved(request, *args):
        if request.method_id == "os-sart":
            message = "This needs more memory than there is."
            raise ResourceError(message)
        return in_process(request, *args)

    monkeypatch.setattr(demo_module, "run_job", starved)
    result = run_demo(
        tmp_path,
        size=SMALLEST,
        views=4,
        methods=("fdk", "os-sart"),
    )
    ((title, why),) = result.parts[1].left_out
    assert "OS-SART" in title
    assert "more memory" in why
    assert "more memory" in result.report.read_text(encoding="utf-8")


def test_cancel_stops_the_demo_without_a_report(tmp_path):
    asked = iter(range(10_000))
    job = Job(is_cancelled=lambda: next(asked) > 12)
    with pytest.raises(Cancelled):
        run_demo(
            tmp_path,
            size=SMALLEST,
            methods=METHODS,
            job=job,
        )
    assert not (tmp_path / "report.html").exists()


def test_wrong_requests_are_refused_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="at least 2 views"):
        run_demo(tmp_path / "a", views=1)
    with pytest.raises(UsageError, match="no method 'fkd'"):
        run_demo(tmp_path / "b", methods=("fkd",))
    with pytest.raises(InputError):
        run_demo(tmp_path / "c", input_path=tmp_path / "absent.nii.gz")
    air = Volume(
        np.full((8, 8, 8), -1000.0), VolumeGeometry.from_spacing((8, 8, 8), (1, 1, 1)), Unit.HU
    )
    write_volume(air, tmp_path / "air.nii.gz")
    with pytest.raises(InputError, match="nothing but air"):
        own_case(tmp_path / "air.nii.gz", TINY)


def test_ruler_measures_noise_where_nothing_else_is():
    rng = np.random.default_rng(4)
    grid = VolumeGeometry.from_spacing((24, 48, 48), (1, 1, 1))
    truth = np.full(grid.shape, 50.0)
    truth[:, 20:28, 20:28] = 1200
    volume = Volume(truth, grid, Unit.HU)
    wrong_bone = truth + rng.normal(0, 30, truth.shape) + np.where(truth > 1000, 400, 0)
    found = Ruler(volume).measure(Volume(wrong_bone, grid, Unit.HU))
    assert float(found["noise"]) == pytest.approx(30, rel=0.03)
    assert float(found["rmse"]) == pytest.approx(
        np.sqrt(((wrong_bone - truth) ** 2).mean()), rel=1e-4
    )
    nothing_flat = Volume(rng.normal(0, 300, grid.shape), grid, Unit.HU)
    assert Ruler(nothing_flat).measure(volume)["noise"].value is None


def test_resampled_keeps_a_ramp_in_its_place():
    fine = VolumeGeometry.from_spacing((30, 36, 42), (1, 1.5, 2), origin_lps_mm=(5, -7, 3))
    k, j, i = np.mgrid[:30, :36, :42]
    at = fine.to_world(np.stack([i, j, k], axis=-1))
    ramp = Volume(at @ [1.0, -2.0, 3.0], fine, Unit.HU)
    coarse = VolumeGeometry.from_spacing((10, 12, 14), (2.5, 3.5, 4), origin_lps_mm=(12, 0, 14))
    k, j, i = np.mgrid[:10, :12, :14]
    exact = coarse.to_world(np.stack([i, j, k], axis=-1)) @ [1.0, -2.0, 3.0]
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(resampled(ramp, coarse).values[inner], exact[inner], atol=0.6)


# -- pictures -----------------------------------------------------------------------------------
@pytest.mark.parametrize("flip", [False, True])
def test_slices_are_turned_the_radiological_way(flip):
    """A marker at the patient's right, front and head end must lie left, top and top."""
    grid = VolumeGeometry.from_spacing((10, 12, 14), (1, 2, 3), origin_lps_mm=(0, 0, 0))
    values = np.zeros(grid.shape, np.float32)
    values[8, 2, 1] = 1  # near the head, the front (small y), the right (small x)
    volume = Volume(values, grid, Unit.GREY)
    if flip:  # the same volume, stored sagittally and backwards
        matrix = grid.ijk_to_lps[:, [1, 2, 0, 3]].copy()
        matrix[:3, 3] += matrix[:3, 0] * 11
        matrix[:, 0] *= -1
        stored = np.flip(np.transpose(values, (2, 0, 1)), axis=2)
        volume = Volume(stored, VolumeGeometry(stored.shape, matrix), Unit.GREY)
    stack = Stack.of(volume)
    assert stack.spacing_mm == pytest.approx((3, 2, 1))
    assert np.argwhere(stack.values == 1).tolist() == [[1, 2, 1]]
    assert stack.plane("axial", 1).shape == (12, 14)
    assert stack.size_mm("coronal") == pytest.approx((30, 14))


def test_png_holds_the_grey_levels():
    import base64
    import io

    from skimage.io import imread

    levels = Grey(0, 10).apply(np.linspace(-2, 12, 35, dtype=np.float32).reshape(5, 7))
    data = base64.b64decode(png_uri(levels).partition(",")[2])
    np.testing.assert_array_equal(imread(io.BytesIO(data)), levels)
    assert levels.min() == 0
    assert levels.max() == 255
