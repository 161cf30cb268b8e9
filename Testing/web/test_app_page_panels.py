"""The panels of the browser page over a real scene: settings, runs, results, files."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", exc_type=ImportError)
pytest.importorskip("trame_slicer", exc_type=ImportError)

sys.path.insert(0, str(Path(__file__).parent))

from page_bench import PageBench

from ctrestorelib.io.volumes import read_volume, write_volume

UI = Path(__file__).resolve().parents[2] / "CTRestore" / "Resources" / "UI"
SMALL = "from ctrestorelib.mrml.samples import add_knee; "
CHOOSE = "desk.change({'input_volume': noisy, 'scan_volume': clean})"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    bench = PageBench(tmp_path_factory.mktemp("person"))
    yield bench
    assert bench.close() == 0
    assert list((bench.folder / "jobs").iterdir()) == [], "a job folder was left behind"


@pytest.fixture
def knee(page):
    """Put a small noisy knee into an empty scene."""
    page.until("not desk.busy")
    page.do("desk.session.outcomes.clear(); acts['log', 'clear']()")
    page.do(f"{SMALL} clean, noisy = add_knee(desk.context, shape=(12, 40, 48)); {CHOOSE}")
    page.enter(denoise_method="bilateral", denoise_strength=1.0, denoise_preset="",
               denoise_guards=False)  # fmt: skip
    return page


def desktop_texts(file):
    """Return title, label and button texts of a .ui file, without their colons."""
    for widget in ET.parse(UI / file).getroot().iter("widget"):
        named = {p.get("name"): "".join(p.itertext()).strip() for p in widget.findall("property")}
        if named.get("text"):
            yield named["text"].rstrip(":")


NOT_IN_A_BROWSER = {"Folder", "Segment Editor", "Install optional packages...",
                    "Add to Slicer's DICOM database"}  # fmt: skip
"""What the page has no use for: it writes into the person's downloads, in one program."""


@pytest.mark.parametrize("file", sorted(p.name for p in UI.glob("*.ui")))
def test_sections_labels_and_buttons_have_the_words_of_the_desktop(page, file):
    drawn = page.ask("page.layout.html").replace("&#x27;", "'").replace("&quot;", '"')
    texts = set(desktop_texts(file)) - NOT_IN_A_BROWSER
    assert texts
    assert {text for text in texts if text not in drawn} == set()


def test_the_sections_have_the_order_of_the_desktop(page):
    root = ET.parse(UI / "CTRestore.ui").getroot()
    sections = [
        "".join(w.find("property[@name='text']").itertext()).strip()
        for w in root.iter("widget")
        if w.get("class") == "ctkCollapsibleButton"
    ]
    titles = page.ask("[panel.title for panel in desk.panels if panel.key != 'jobs']")
    assert titles == sections


def test_every_setting_of_the_desktop_has_a_field(page):
    drawn = page.ask("page.layout.html")
    bound = [
        prop.findtext("string")
        for file in UI.glob("*.ui")
        for prop in ET.parse(file).getroot().iter("property")
        if prop.get("name") == "SlicerParameterName"
    ]
    folders = {"segment_folder", "export_folder", "dicom_folder"}
    assert len(bound) > 20
    assert [n for n in bound if n not in folders and f'"{n}"' not in drawn] == []


def test_nothing_in_the_page_points_to_another_machine(page):
    drawn = page.ask("page.layout.html")
    assert "http://" not in drawn
    assert "https://" not in drawn
    assets = page.ask("str(Path(__import__('sys').modules[type(page).__module__].ASSETS))")
    for file in Path(assets).iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, file.name


def test_a_field_writes_to_the_parameter_node_and_back(page):
    page.enter(denoise_strength=0.25, compare_mode="wipe", scan__views=17)
    stored = "[store.get(n) for n in ('denoise_strength', 'compare_mode', 'scan__views')]"
    assert page.ask(stored) == [0.25, "wipe", 17]
    assert page.ask("desk.store.node.GetParameter('denoise_strength')") == "0.25"
    page.do("store.set('denoise_strength', 0.75)")
    page.until("state.denoise_strength == 0.75")
    page.enter(compare_mode="side_by_side")


def test_all_settings_are_in_the_state_under_their_names(page):
    assert page.ask("[n for n in store.names() if n not in state]") == []


def test_a_refused_value_is_explained_and_taken_back(page):
    page.enter(denoise_strength=0.5)
    page.enter(denoise_strength=7)
    assert page.ask("state.denoise_strength") == 0.5
    assert "Strength (denoise_strength) must be at least 0 and at most 1" in page.ask(
        "state.ui_message"
    )
    page.enter(denoise_strength=None)
    assert page.ask("state.denoise_strength") == 0.5


def test_automatic_is_none_on_both_sides(page):
    page.enter(reconstruct_views=24)
    assert page.ask("store.get('reconstruct_views')") == 24
    page.enter(reconstruct_views=None)
    assert page.ask("store.get('reconstruct_views')") is None


def test_a_node_is_chosen_by_its_id_and_forgotten_with_the_node(knee):
    listed = knee.until("state.ui_nodes['volumes']")
    assert [entry["title"] for entry in listed] == ["Knee phantom", "Knee phantom, noisy"]
    knee.enter(input_volume=listed[0]["value"])
    assert knee.ask("store.get('input_volume').GetName()") == "Knee phantom"
    assert "48 x 40 x 12 voxels" in knee.until("state.ui_volume['facts']")
    knee.do("desk.context.scene.RemoveNode(store.get('input_volume'))")
    knee.until("state.input_volume == ''")


def test_a_greyed_button_says_why_and_does_nothing(knee):
    knee.enter(input_volume="")
    assert knee.until("state.ui_denoise['why_apply']") == "Choose a volume to denoise."
    knee.press("denoise", "apply")
    assert knee.ask("state.ui_message") == "Choose a volume to denoise."
    assert knee.ask("desk.session.busy") is False


def test_denoise_makes_a_result_with_its_record(knee):
    assert "of memory" in knee.until("state.ui_denoise['plan']")
    knee.press("denoise", "apply")
    assert knee.ask("desk.busy") is True
    knee.until("state.ui_denoise['status'].startswith('Done in')")
    (result,) = knee.until("state.ui_jobs['results']")
    assert result["title"].endswith("Knee phantom, noisy")
    assert "Method: " in result["record"]
    assert "strength 1; seed 0" in result["record"]
    assert knee.ask("store.get('compare_b').GetID()") == result["ids"][0]
    assert knee.ask("desk.busy") is False


def test_cautions_stand_before_a_run_and_lights_beside_its_result(knee):
    knee.enter(denoise_guards=True)
    assert any("bone" in told for told in knee.until("state.ui_denoise['cautions']"))
    knee.press("denoise", "apply")
    lights = knee.until("state.ui_denoise['lights']", 120)
    for title in ("HU values", "Removed noise", "Noise texture"):
        assert title.replace(" ", "&nbsp;") in lights
        assert title in knee.ask("state.ui_denoise['details']")
    knee.press("denoise", "numbers")
    table = knee.ask("state.ui_denoise['table']")
    assert table["head"][:2] == ["Measure", "Value"]
    assert any("HU drift" in row[0] or "HU" in row[2] for row in table["rows"])
    knee.press("denoise", "removed")
    name = "store.get('compare_b').GetName() + ' removed noise'"
    assert knee.ask(f"desk.context.scene.GetFirstNodeByName({name}) is not None")
    assert knee.ask("desk.session.watching") is False


def test_progress_is_seen_and_cancel_is_heard_at_once(knee):
    knee.enter(denoise_method="anisotropic-diffusion")
    name = knee.ask("[n for n in store.names('anisotropic_diffusion__') if 'iter' in n][0]")
    knee.enter(**{name: knee.ask(f"int(desk.settings[{name!r}].info.bounds[1])")})
    knee.press("denoise", "apply")
    knee.until("state.ui_denoise['run']['running']")
    knee.until("state.ui_jobs['run']['percent'] > 0")
    knee.press("denoise", "cancel")
    assert knee.ask("desk.session.state.value") == "cancelling"
    knee.until("state.ui_denoise['status'] == 'Cancelled. Nothing was changed.'", 20)
    assert knee.ask("len(state.ui_nodes['volumes'])") == 2


def test_several_runs_wait_and_one_can_be_taken_out(knee):
    knee.press("denoise", "apply")
    knee.enter(denoise_strength=0.5)
    knee.press("denoise", "apply")
    knee.enter(denoise_strength=0.125)
    knee.press("denoise", "apply")
    assert len(knee.until("state.ui_jobs['waiting']")) == 2
    assert knee.ask("state.ui_denoise['run']['waits']") is True
    knee.do("page.jobs._withdraw(1)")
    knee.until("not desk.busy and len(state.ui_jobs['results']) == 2")
    made = [result["record"] for result in knee.ask("state.ui_jobs['results']")]
    assert ["strength 0.5" in made[0], "strength 1;" in made[1]] == [True, True]


def test_a_batch_takes_the_ticked_volumes_too(knee):
    other = knee.until("state.ui_denoise['others']")
    knee.do(f"panels['denoise']._tick([{other[0]['value']!r}])")
    knee.press("denoise", "apply")
    knee.until("not desk.busy and len(state.ui_jobs['results']) == 2")
    titles = sorted(r["title"].split(": ")[1] for r in knee.ask("state.ui_jobs['results']"))
    assert titles == ["Knee phantom", "Knee phantom, noisy"]


def test_only_results_can_be_discarded(knee):
    knee.press("denoise", "apply")
    (result,) = knee.until("not desk.busy and state.ui_jobs['results']")
    original = knee.ask("store.get('input_volume').GetID()")
    knee.do(f"page.jobs._discard([{original!r}, {result['ids'][0]!r}])")
    assert knee.ask(f"desk.context.node({original!r}) is not None")
    assert knee.ask(f"desk.context.node({result['ids'][0]!r}) is None")
    knee.until("'Discarded' in state.ui_jobs['results'][0]['text']")


def test_a_scan_can_be_reconstructed(knee):
    knee.enter(scan__views=12, scan__refine=1, scan__oversample=1, reconstruct_method="fdk")
    assert "12 views over" in knee.until("state.ui_scan['words']")
    knee.press("scan", "apply")
    knee.until("state.ui_reconstruct['stack'].startswith('12 views of')")
    knee.until("not desk.busy and not state.ui_reconstruct['why_apply']")
    knee.press("reconstruct", "apply")
    knee.until("state.ui_reconstruct['status'].startswith('Done in')")
    assert knee.ask("len(state.ui_jobs['results'])") == 2


def test_a_run_that_fails_does_not_look_like_one_that_is_done(knee):
    knee.enter(denoise_method="nlm")
    knee.press("denoise", "apply")
    knee.until("desk.session._child is not None and desk.session._child.pid")
    knee.do("import os, signal; os.kill(desk.session._child.pid, signal.SIGKILL)")
    knee.until("not desk.busy and state.ui_denoise['run']['failed']")
    assert "Done" not in knee.ask("state.ui_denoise['status']")
    knee.press("denoise", "apply")
    knee.until("state.ui_denoise['status'].startswith('Done in')")
    assert not knee.ask("state.ui_denoise['run']['failed']")


def test_the_comparison_opens_follows_and_closes(knee):
    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_compare['why_show']")
    knee.press("compare", "show")
    knee.until("state.ui_compare['open']")
    assert knee.ask("panels['compare'].comparison.mode.value") == "side_by_side"
    knee.enter(compare_mode="wipe", compare_wipe=0.25)
    knee.until("panels['compare'].comparison.mode.value == 'wipe'")
    knee.until("panels['compare'].comparison.look.wipe == 0.25")
    knee.press("compare", "show")
    knee.until("not state.ui_compare['open']")
    assert knee.ask("panels['compare'].comparison.mode is None")
    knee.enter(compare_mode="side_by_side")


def test_a_measurement_in_a_new_box_fills_the_table(knee):
    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_compare['why_box']")
    knee.press("compare", "box")
    knee.until("not state.ui_compare['why_statistics']")
    knee.press("compare", "statistics")
    table = knee.until("state.ui_compare['table']['rows'] and state.ui_compare['table']")
    assert "Mean" in table["head"]
    assert len(table["rows"]) == 2
    knee.press("compare", "show")


def test_segments_are_compared_and_written_as_surfaces(knee):
    assert knee.until("state.ui_segment['why_surface']") == "Segment both and compare first."
    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_segment['why_segment']")
    knee.press("segment", "segment")
    table = knee.until("state.ui_segment['table']['rows'] and state.ui_segment['table']")
    assert table["head"] == ["", "Original", "Result 1"]
    dice = next(row for row in table["rows"] if row[0] == "Dice")
    assert 0.5 < float(dice[2]) <= 1
    knee.until("not state.ui_segment['why_save']")
    knee.press("segment", "save")
    assert len(list((knee.folder / "downloads").glob("*.stl"))) == 2


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_saved_volume_has_the_voxels_and_the_place_of_the_node(knee, suffix):
    folder = knee.folder / "downloads"
    for file in folder.iterdir():
        file.unlink()
    node = "store.get('input_volume')"
    knee.enter(export_volume=knee.ask(f"{node}.GetID()"), export_format=suffix)
    knee.until("not state.ui_save['why_volume']")
    knee.press("save", "volume")
    (path,) = folder.iterdir()
    read = read_volume(path).volume
    knee.do("from ctrestorelib.mrml.volumes import volume_from_node")
    spacing = knee.ask(f"list(volume_from_node({node}).volume.geometry.spacing_mm)")
    mean = knee.ask(f"float(volume_from_node({node}).volume.values.mean(dtype='f8'))")
    assert np.allclose(read.geometry.spacing_mm, spacing)
    assert read.values.mean(dtype="f8") == pytest.approx(mean, abs=1e-6)
    listed = knee.until("state.ui_save['files']")
    assert [entry["name"] for entry in listed] == [path.name]
    assert listed[0]["href"] == "/download/" + path.name.replace(" ", "%20").replace(",", "%2C")


def test_record_report_and_scene_are_complete_files(knee):
    folder = knee.folder / "downloads"
    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_save['why_record']")
    for button in ("record", "scene", "report"):
        knee.press("save", button)
    knee.until("state.ui_save['status'] == 'Wrote Comparison.html.'", 90)
    (record,) = folder.glob("*bilateral*.json")
    assert json.loads(record.read_text())["method"] == "bilateral"
    assert "<html" in (folder / "Comparison.html").read_text()[:200]
    with zipfile.ZipFile(folder / "CTRestore scene.mrb") as archive:
        names = archive.namelist()
    assert "CTRestore scene/CTRestore scene.mrml" in names
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_result_tells_its_command_line(knee):
    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_save['why_command']")
    knee.press("save", "command")
    assert knee.ask("state.ui_save['code']").startswith("ctrestore denoise")


def test_an_own_preset_is_saved_applied_and_read_from_a_file(knee):
    knee.enter(denoise_strength=0.4)
    knee.do("panels['denoise'].show(preset_name='My ../knees')")
    knee.press("denoise", "save_preset")
    written = knee.folder / "downloads" / "My _knees.json"
    assert json.loads(written.read_text())["strength"] == 0.4
    knee.enter(denoise_strength=1.0)
    knee.do("panels['denoise'].choice._choose_preset('My _knees')")
    assert knee.ask("store.get('denoise_strength')") == 0.4
    upload = knee.folder / "uploads" / "other.json"
    upload.write_text(written.read_text().replace("My _knees", "other").replace("0.4", "0.3"))
    knee.do(f"page.open([Path({str(upload)!r})])")
    knee.until("store.get('denoise_strength') == 0.3")
    assert knee.ask("store.get('denoise_preset')") == "other"


def test_uploaded_files_become_nodes_beside_the_event_loop(knee, small_ct):
    write_volume(small_ct, knee.folder / "uploads" / "sent knee.nii.gz")
    knee.do("page.open([Path(desk.uploads / 'sent knee.nii.gz')])")
    knee.until("store.get('input_volume').GetName() == 'sent knee'")
    assert knee.until("state.ui_volume['facts']").startswith(
        "40 x 32 x 24 voxels of 0.8 x 0.8 x 1.5"
    )
    knee.until("not desk.busy")


def test_what_cannot_be_read_is_a_sentence_and_leaves_nothing(knee):
    (knee.folder / "uploads" / "broken.nrrd").write_bytes(b"NRRD0004\nnot really")
    before = knee.ask("len(state.ui_nodes['volumes'])")
    knee.do("page.open([Path(desk.uploads / 'broken.nrrd')])")
    knee.until("'broken.nrrd' in state.ui_message and not desk.busy")
    assert knee.ask("len(state.ui_nodes['volumes'])") == before


def test_remove_everything_leaves_an_empty_case_that_can_go_on(knee):
    knee.press("log", "clear")
    knee.until("state.ui_nodes['volumes'] == [] and state.input_volume == ''")
    knee.press("volume", "phantom")
    knee.until("len(state.ui_nodes['volumes']) == 2")
    assert "128 x 128 x 80 voxels" in knee.until("state.ui_volume['facts']")
    knee.enter(denoise_strength=0.625)
    assert knee.ask("store.get('denoise_strength')") == 0.625


def test_a_result_becomes_a_dicom_series_in_one_archive(knee):
    from ctrestorelib.io.dicom_series import read_series

    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_dicom['why_apply']")
    assert "anonymous" in knee.ask("state.ui_dicom['source']")
    knee.do("panels['dicom'].show(name='Doe^Jane')")
    knee.press("dicom", "preview")
    rows = knee.ask("state.ui_dicom['table']['rows']")
    assert ["PatientName", "Doe^Jane"] in [row[:2] for row in rows]
    knee.press("dicom", "apply")
    knee.until("'.zip' in state.ui_message", 90)
    (archive,) = (knee.folder / "downloads").glob("*.zip")
    volume = read_series(archive).volume
    assert volume.shape == (12, 40, 48)
    assert knee.ask("state.ui_dicom['name']") == ""
    assert list((knee.folder / "exports").iterdir()) == []
    assert "exports" not in knee.ask("store.get('dicom_folder')")


def test_the_noise_of_one_volume_is_told_and_mapped(knee):
    knee.do("desk.change({'compare_a': store.get('input_volume')})")
    knee.until("not state.ui_compare['why_noise']")
    knee.press("compare", "noise_map")
    knee.until("'slices' in state.ui_compare['measured'] and not desk.busy", 90)
    rows = knee.until("state.ui_compare['table']['rows']")
    assert any(row[0] == "Sharpness of the kernel" for row in rows)
    name = "store.get('input_volume').GetName() + ' noise map'"
    assert knee.ask(f"desk.context.scene.GetFirstNodeByName({name}) is not None")


def test_a_result_is_judged_beside_other_work(knee):
    knee.press("denoise", "apply")
    knee.until("not desk.busy and not state.ui_compare['why_quality']")
    knee.press("compare", "quality")
    knee.press("denoise", "apply")
    knee.until("state.ui_compare['measured'].startswith('Verdict: ')")
    table = knee.until("state.ui_compare['table']['rows'] and state.ui_compare['table']")
    assert len(table["rows"]) > 3
    knee.until("not desk.busy and len(state.ui_jobs['results']) == 3")
    knee.press("compare", "show")
