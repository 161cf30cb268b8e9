"""The whole story of ``ctrestore app``: real program, real gateway, real Chromium."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.methods.registry import default_method
from ctrestorelib.mrml.tasks.task import short_title
from ctrestorelib.restorer.spec import Kind

sys.path.insert(0, str(Path(__file__).parent))
from story_files import (
    corners_above,
    dicom_series_of,
    read,
    same_place,
    surface_of,
    values,
    volumes_of_scene,
    write_case,
    write_dicom_zip,
)
from story_page import ABSENT, CHROMIUM, Person, chromium, served

pytestmark = pytest.mark.skipif(
    bool(ABSENT) or CHROMIUM is None or sys.platform == "win32",
    reason=f"needs {', '.join(ABSENT) or 'Chromium (Debian package chromium) and POSIX signals'}",
)
KNEE = "knee_sts010_petct"
METHOD = short_title(default_method(Kind.DENOISER))


@pytest.fixture(scope="module")
def allowed(tmp_path_factory):
    """Return the one folder whose files may be opened by path."""
    folder = tmp_path_factory.mktemp("allowed")
    write_case(folder / "open case.nii.gz")
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory, allowed):
    with served(tmp_path_factory.mktemp("app"), "--root", allowed, "--max-users", 8) as program:
        yield program
        said = program.said
        assert "Traceback" not in said, said[-3000:]
        assert "ERROR" not in said.replace("ERROR_LEVEL", ""), said[-3000:]


@pytest.fixture(scope="module")
def browser():
    with chromium() as program:
        yield program


@pytest.fixture
def visit(app, browser, tmp_path):
    """Return a function that lets one more person in; at the end nothing may have gone wrong."""
    here: list[Person] = []

    def come() -> Person:
        here.append(Person(browser, app.link, tmp_path / "pictures"))
        here[-1].sees_page()
        return here[-1]

    yield come
    seen = [(person.outside(app), list(person.wrong)) for person in here]
    for person in here:
        person.leaves(app)
    assert seen == [([], [])] * len(here)


def denoise(person: Person) -> None:
    person.opens("2. Remove noise")
    person.presses("denoise", "apply")
    person.reads(rf"Done in .*{METHOD}", ".v-expansion-panel .pg-status")


def saved(person: Person, folder: Path, volume: str, kind: str = "NIfTI") -> Path:
    """Save a volume in this format and download it."""
    person.opens("7. Save")
    person.chooses("export_volume", volume)
    person.chooses("export_format", kind)
    person.presses("save", "volume")
    name = re.sub(r"[^\w\-. ]", "_", volume)
    person.reads(rf"Wrote {re.escape(name)}\.nii")
    return person.fetches(rf"^{re.escape(name)}\.nii", folder)


def test_a_knee_from_the_upload_to_the_downloaded_files(visit, data_file, tmp_path, ctrestore):
    source = data_file(f"{KNEE}.nii.gz")
    original, person, got = read(source), visit(), tmp_path / "got"
    person.shot("start")
    assert person.grey().std() < 10
    person.drops(source)
    person.reads(f"Opened {KNEE}")
    person.reads("185 x 164 x 59 voxels of 0.977 x 0.977 x 3.27 mm")
    person.sees_structure()
    person.shot("loaded")

    person.presses("denoise", "apply")
    person.presses("denoise", "cancel")
    person.reads("Cancelled. Nothing was changed.")
    assert not re.search(r"Results \([1-9]", person.tab.inner_text(".pg-jobs"))
    person.shot("cancelled")
    denoise(person)
    person.reads(r"Results \(1\)", ".pg-jobs")
    person.shot("denoised")

    wiped(person)
    dice_shown, volume_ml = segmented(person)
    assert 0.9 < dice_shown < 1.0
    person.closes_all()
    scanned_and_reconstructed(person)
    compared(person)

    person.closes_all()
    result = f"{KNEE} ({METHOD})"
    check_knee(person, original, result, got, ctrestore, source)
    check_surface(person, original, got, volume_ml)
    check_scene(person, original, result, got)
    person.shot("files")


def wiped(person: Person) -> None:
    person.closes_all()
    person.opens("5. Compare")
    person.chooses("compare_mode", "Wipe")
    person.presses("compare", "show")
    person.sees_views(1)
    picture = laid_out(person)
    x, y, width, height = (person.tab.locator(".ctr-picture").bounding_box()[k]
                           for k in ("x", "y", "width", "height"))  # fmt: skip
    person.tab.mouse.move(x + width / 2, y + height / 2)
    person.tab.mouse.down()
    person.tab.mouse.move(x + width / 4, y + height / 2, steps=8)
    person.tab.mouse.up()
    person.settled()
    moved = person.grey()
    assert moved.shape == picture.shape
    assert np.abs(moved - picture).max() > 60  # the line is elsewhere now
    assert 0.2 < float(person.reads(r"0\.\d\d", ".pg-slider output")) < 0.3
    person.shot("wipe")


def laid_out(person: Person) -> np.ndarray:
    """Return the picture of the view once it has its place: VTK begins with 300 x 300 pixels."""
    end = time.monotonic() + 20
    while True:
        person.settled()
        picture = person.grey()
        if picture.shape != (300, 300):
            return picture
        assert time.monotonic() < end, "the view never got the size of its place"


def segmented(person: Person) -> tuple[float, float]:
    """Segment bone in both volumes; return Dice and the original's millilitres."""
    person.closes_all()
    person.opens("6. Segment")
    person.presses("segment", "segment")
    dice = person.reads(r"Dice\s+-\s+([\d.]+)", ".pg-table").split()[-1]
    volume = person.reads(r"Volume \(ml\)\s+([\d.]+)", ".pg-table").split()[-1]
    person.presses("segment", "surface")
    person.sees_views(4)
    for view in range(4):
        person.settled(view)
        person.sees_structure(view)
    person.shot("surfaces")
    person.tab.locator("summary", has_text="Surface files").click()
    person.presses("segment", "save")
    person.reads(r"bone_\w+\.stl", ".pg-status")
    return float(dice), float(volume)


def scanned_and_reconstructed(person: Person) -> None:
    person.opens("3. Try X-ray")
    person.enters("scan__views", 10)
    person.reads("10 views over 360 degrees")
    person.presses("scan", "apply")
    person.reads(r"Done in .*\(10 views\)", ".v-expansion-panel .pg-status")
    person.shot("scanned")
    person.closes_all()
    person.opens("4. Reconstruct")
    person.reads(r"10 views of \d+ x \d+ pixels")
    person.chooses_labelled("4. Reconstruct", "Method", "FDK")
    person.presses("reconstruct", "apply")
    person.reads(r"Done in .*filtered backprojection", ".v-expansion-panel .pg-status")
    person.reads(r"Results \(3\)", ".pg-jobs")
    person.shot("reconstructed")


def compared(person: Person) -> None:
    person.closes_all()
    person.opens("5. Compare")
    person.chooses("compare_mode", "Side by side")
    if person.reads("Close comparison|Show comparison") == "Show comparison":
        person.presses("compare", "show")
    person.sees_views(2)
    for view in (0, 1):
        person.sees_structure(view)
        person.settled(view)
    left, right = person.grey(0), person.grey(1)
    assert np.abs(left - right).mean() > 5  # ten views leave streaks
    person.shot("compared")


def check_knee(person, original, result, got, ctrestore, source) -> None:
    """The original came back as it was; the result is what the command line makes too."""
    same = read(saved(person, got, KNEE))
    same_place(same, original)
    assert np.array_equal(values(same), values(original))
    path = saved(person, got, result)
    restored = read(path)
    same_place(restored, original)
    assert not np.array_equal(values(restored), values(original))
    record = person.fetches(re.escape(path.name.removesuffix(".nii.gz")) + r"\.json", got)
    again = got / "again.nii.gz"
    ctrestore("replay", record, "--input", source, "--output", again, check=0)
    assert np.array_equal(values(read(again)), values(restored))


def check_surface(person, original, got, volume_ml: float) -> None:
    paths = [person.fetches(name, got) for name in (r"bone_original\.stl", r"bone_restored\.stl")]
    boxes, volumes = zip(*(surface_of(path) for path in paths), strict=True)
    wanted = corners_above(original, 226)
    for box in boxes:
        np.testing.assert_allclose(box, wanted, atol=max(original.GetSpacing()) + 0.5)
    # Smoothing takes from thin walls and small islands, so a surface holds less than its voxels.
    assert 0.75 * volume_ml < volumes[0] / 1000 < 1.05 * volume_ml
    assert volumes[0] != volumes[1]


def check_scene(person, original, result, got) -> None:
    person.presses("save", "scene")
    person.reads(r"Wrote CTRestore scene\.mrb")
    found = volumes_of_scene(person.fetches(r"\.mrb$", got), got / "scene")
    assert {KNEE, result, f"{KNEE} (10 views) (filtered backprojection)"} <= set(found)
    kept = read(found[KNEE])
    same_place(kept, original)
    assert np.array_equal(values(kept), values(original))
    same_place(read(found[f"{KNEE} (10 views) (filtered backprojection)"]), original)


def test_a_dicom_zip_from_the_upload_to_a_downloaded_series(visit, tmp_path):
    array = write_dicom_zip(tmp_path / "series.zip")
    person = visit()
    person.sends(tmp_path / "series.zip")
    person.reads("56 x 48 x 12 voxels of 0.7 x 0.9 x 2.5 mm, .*HU")
    name = person.tab.inner_text("[data-setting=input_volume] .v-select__selection")
    image = read(saved(person, tmp_path, name))
    assert np.array_equal(values(image), array)
    np.testing.assert_allclose(image.GetSpacing(), (0.7, 0.9, 2.5), atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), (-20.0, 15.0, 40.0), atol=1e-3)
    denoise(person)
    person.closes_all()
    restored = read(saved(person, tmp_path, f"{name} ({METHOD})"))
    same_place(restored, image)

    person.opens("8. DICOM")
    person.reads("Patient and study come from the 12 source images")
    person.presses("dicom", "apply")
    person.reads(r"Wrote .*\.zip", ".v-snackbar")
    person.shot("exported")
    heads, hu = dicom_series_of(person.fetches(r"\.zip$", tmp_path / "got"))
    assert len(heads) == 12
    assert {str(h.PatientName) for h in heads} == {"Story^Rod"}
    assert len({h.SOPInstanceUID for h in heads}) == 12
    assert np.abs(hu - values(restored)).max() <= 1.0
    for k, head in enumerate(heads):
        position = np.array(head.ImagePositionPatient, float)
        np.testing.assert_allclose(position, (-20, 15, 40 + 2.5 * k), atol=1e-3)


def test_a_real_dicom_zip_opens(visit, data_file):
    person = visit()
    person.sends(data_file("dicom_headphantom_philips_tilt-18p5.zip"))
    person.reads(r"\d+ x \d+ x \d+ voxels of 0.482 x [\d.]+ x [\d.]+ mm, .*HU")
    person.sees_structure()
    person.shot("tilted")


def test_two_people_do_not_see_each_other(visit, app, tmp_path):
    people = {"alder": visit(), "birch": visit()}
    assert len(app.page_processes()) >= 2
    for number, (name, person) in enumerate(people.items()):
        write_case(tmp_path / f"{name} knee.nii.gz", seed=number)
        person.sends(tmp_path / f"{name} knee.nii.gz")
        person.reads(f"Opened {name} knee")
        saved(person, tmp_path / "got", f"{name} knee")
    for name, person in people.items():
        (other,) = set(people) - {name}
        state = "JSON.stringify(window.trame?.state?.state ?? null)"
        assert name in person.tab.content()
        assert other not in person.tab.content()
        assert other not in (person.tab.evaluate(state) or "")
        ask = "n => fetch('/download/' + encodeURIComponent(n)).then(a => a.status)"
        assert person.tab.evaluate(ask, f"{name} knee.nii.gz") == 200
        assert person.tab.evaluate(ask, f"{other} knee.nii.gz") == 404
        person.wrong = [w for w in person.wrong if "404" not in w]  # Chromium tells of it


def test_a_wrong_key_opens_nothing(app, browser):
    stranger = Person(browser, f"{app.address}?token=not-the-key-of-this-run")
    assert stranger.answer.status == 403
    assert "not valid" in stranger.tab.title()
    assert stranger.tab.goto(app.address).status == 401
    assert stranger.tab.locator("[data-button]").count() == 0
    assert stranger.context.cookies() == []
    stranger.context.close()


def test_paths_outside_the_allowed_folders_are_refused(visit, allowed, tmp_path):
    write_case(tmp_path / "secret.nii.gz")
    (allowed / "lead out.nii.gz").symlink_to(tmp_path / "secret.nii.gz")
    person = visit()
    field = person.tab.get_by_label("Path on the computer")
    secret, inside = tmp_path / "secret.nii.gz", allowed / "lead out.nii.gz"
    for path in (secret, allowed / ".." / secret.name, inside, Path("/etc/passwd"), tmp_path / "x"):
        field.fill(str(path))
        person.presses("volume", "open")
        told = person.reads("(?!Opened).*folder.*", ".v-snackbar")
        assert "secret" not in told
        assert person.tab.locator("text=voxels of").count() == 0
        person.tab.locator(".v-snackbar button").click()
        person.tab.wait_for_selector(".v-snackbar", state="hidden")
    field.fill(str(allowed / "open case.nii.gz"))
    person.presses("volume", "open")
    person.reads("56 x 48 x 20 voxels")


def test_a_run_outlives_a_reload_and_a_closed_tab(visit, app, tmp_path):
    write_case(tmp_path / "long run.nii.gz", (80, 220, 220))
    person = visit()
    person.sends(tmp_path / "long run.nii.gz")
    person.reads("220 x 220 x 80 voxels")
    person.presses("denoise", "apply")
    bar = ".pg-jobs .pg-bar"
    before = int(person.reads(r"[1-9]\d* %", bar).split()[0])
    person.tab.reload()
    after = int(person.reads(r"\d+ %", bar).split()[0])
    person.shot("reloaded")
    assert before <= after < 100
    person.reads(r"Results \(1\)", ".pg-jobs")
    assert person.tab.locator(bar).count() == 0
    person.sees_page()
    before = person.tab
    person.tab = person.context.new_page()
    before.close()
    person.tab.goto(app.address)
    person.sees_page()
    person.reads(r"Results \(1\)", ".pg-jobs")
    restored = read(saved(person, tmp_path, f"long run ({METHOD})"))
    original = read(tmp_path / "long run.nii.gz")
    same_place(restored, original)
    water = values(original)[40, 60:80, 60:80].std()
    assert values(restored)[40, 60:80, 60:80].std() < 0.7 * water
