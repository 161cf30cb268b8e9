"""Fields drawn from declarations, words of the page, and settings tied to the page's state."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

pytest.importorskip("slicer", exc_type=ImportError)
pytest.importorskip("trame.widgets.vuetify3", exc_type=ImportError)

import slicer
from trame.app import get_server
from trame_client.ui.core import AbstractLayout

from ctrestorelib.apps.web.session import words
from ctrestorelib.apps.web.session.forms import field, form, slider, step_of
from ctrestorelib.apps.web.session.marks import new_box, new_line
from ctrestorelib.apps.web.session.state import StateLink, shown
from ctrestorelib.core.params import ParamField
from ctrestorelib.mrml.parameters import NodeField, ParameterStore
from ctrestorelib.mrml.scene import SceneContext
from ctrestorelib.mrml.settings import all_settings

PANELS = Path(__file__).resolve().parents[2] / "CTRestore" / "CTRestorePanels"
SETTINGS = all_settings()
NUMBERS = itertools.count()


def drawn(draw) -> str:
    """Return the markup that a function draws."""
    from trame.widgets import html

    server = get_server("test forms", client_type="vue3")
    with AbstractLayout(server, html.Div(trame_server=server), template_name="one") as layout:
        draw()
    return layout.html


@pytest.fixture
def store():
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "CTRestore")
    made = ParameterStore(node, SETTINGS)
    made.scene = scene  # a node does not keep its scene alive
    return made


@pytest.fixture
def link(store):
    state = get_server(f"test state {next(NUMBERS)}", client_type="vue3").state
    state.ready()
    told = []
    made = StateLink(state, store, told.append)
    state.flush()
    made.told, made.state = told, state
    return made


def entered(link, **values):
    """Change the state as a message of the browser does."""
    with link.state:
        link.state.update(values)


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_declared_setting_has_a_field_with_label_and_help(name):
    setting = SETTINGS[name]
    markup = drawn(lambda: field(setting))
    assert f'data-setting="{name}' in markup
    label = setting.label if isinstance(setting, NodeField) else setting.info.label
    assert label in markup.replace("&#x27;", "'")
    assert 'hint="' in markup
    assert 'title="' in markup


@pytest.mark.parametrize(
    "name", [n for n, s in SETTINGS.items() if isinstance(s, ParamField) and s.kind == "float"]
)
def test_a_number_field_has_the_declared_unit_limits_and_a_sensible_step(name):
    setting = SETTINGS[name]
    markup = drawn(lambda: field(setting))
    low, high = setting.info.bounds
    for key, value in (("min", low), ("max", high)):
        said = f':{key}="' in markup if value is None else f':{key}="{value:g}"' in markup
        assert said == (value is not None), markup
    assert f'suffix="{setting.info.unit}"' in markup or not setting.info.unit
    span = abs(high - low) if None not in (low, high) else 1e9
    assert 0 < step_of(setting) <= span / 2


def test_an_optional_number_has_a_box_with_the_words_of_the_declaration():
    markup = drawn(lambda: field(SETTINGS["reconstruct_views"]))
    assert "Views used: all" in markup
    assert "reconstruct_views = $event ? null : 10" in markup
    assert "reconstruct_views !== null" in markup


def test_a_choice_shows_words_and_stores_values():
    markup = drawn(lambda: field(SETTINGS["compare_mode"]))
    assert "title: 'Side by side', value: 'side_by_side'" in markup


def test_a_node_selector_offers_none_in_words():
    markup = drawn(lambda: field(SETTINGS["reconstruct_like"], none="The scanner's field of view"))
    assert r"{title: 'The scanner\'s field of view', value: ''}" in markup.replace("&#x27;", "'")
    assert "ui_nodes.volumes" in markup


def test_advanced_settings_are_folded_away():
    names = [n for n in SETTINGS if n.startswith("scan__")]
    advanced = [n for n in names if SETTINGS[n].info.advanced]
    assert advanced
    markup = drawn(lambda: form([SETTINGS[n] for n in names]))
    plain, folded = markup.split("<details", 1)
    assert all(f'data-setting="{n}' in folded for n in advanced)
    assert not any(f'data-setting="{n}' in plain for n in advanced)


def test_a_slider_is_named_by_its_label():
    markup = drawn(lambda: slider(SETTINGS["denoise_strength"], "Strength"))
    assert 'id="denoise_strength-label"' in markup
    assert 'aria-labelledby="denoise_strength-label"' in markup


def test_choices_have_the_words_of_the_desktop():
    tree = ast.parse((PANELS / "binding.py").read_text())
    (table,) = (
        n.value for n in tree.body
        if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "CHOICES"
    )  # fmt: skip
    desktop = {
        key.value: call.args[0].value for key, call in zip(table.keys, table.values, strict=True)
    }
    assert desktop == words.CHOICES


def test_the_notice_is_that_of_the_desktop():
    assert words.RESEARCH_ONLY in (PANELS.parent / "Resources/UI/CTRestore.ui").read_text()


def test_help_says_limits_unit_and_default():
    text = words.tip_of(SETTINGS["reconstruct_mu_water_per_mm"])
    assert "Allowed: 0.01 to 0.2 1/mm." in text
    assert "Default: 0.0192" in text
    assert words.tip_of(SETTINGS["compare_mode"]).endswith("Default: Side by side.")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "about 1 s left"), (45, "about 45 s left"), (600, "about 10 min left")],
)
def test_time_left_is_said_in_words(seconds, text):
    assert words.seconds_left(seconds) == text


def test_every_setting_arrives_in_the_state(link):
    for name, setting in SETTINGS.items():
        assert link.state[name] == shown(setting, link.store.get(name)), name


def _another(setting: ParamField):
    low, high = setting.info.bounds
    if setting.choices:
        return setting.choices[-1]
    if setting.kind in ("int", "float"):
        value = high if high is not None else (low or 0) + 1
        return int(value) if setting.kind == "int" else float(value)
    return {"bool": not setting.default, "str": "another"}[setting.kind]


@pytest.mark.parametrize("name", [n for n, s in SETTINGS.items() if isinstance(s, ParamField)])
def test_every_plain_setting_goes_both_ways(link, name):
    value = _another(SETTINGS[name])
    entered(link, **{name: value})
    assert link.store.get(name) == value
    link.store.reset([name])
    with link.state:
        link.pull()
    assert link.state[name] == link.store.get(name) != value or value == link.store.get(name)
    assert link.told == []


@pytest.mark.parametrize("value", [-1, 2, "much", True, [1]])
def test_what_is_not_allowed_is_told_and_taken_back(link, value):
    entered(link, denoise_strength=0.5)
    entered(link, denoise_strength=value)
    assert link.store.get("denoise_strength") == 0.5
    assert link.state.denoise_strength == 0.5
    assert "Strength" in link.told[0]


def test_a_number_sent_as_text_is_a_number(link):
    entered(link, denoise_strength="0,5")
    assert link.store.get("denoise_strength") == 0.5
    assert link.told == []


def test_a_node_of_another_class_is_refused(link):
    model = link.store.scene.AddNewNodeByClass("vtkMRMLModelNode", "bone")
    entered(link, input_volume=model.GetID())
    assert link.store.get("input_volume") is None
    assert link.state.input_volume == ""
    assert "Volume must be" in link.told[0]


def test_marks_begin_in_the_middle_of_the_volume(small_ct):
    from ctrestorelib.mrml.volumes import new_volume_node

    context = SceneContext(slicer.vtkMRMLScene(), None, None)
    volume = new_volume_node(context, "knee", small_ct)
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    box, line = new_box(context, volume), new_line(context, volume)
    middle = [(bounds[2 * n] + bounds[2 * n + 1]) / 2 for n in range(3)]
    assert list(box.GetCenter()) == pytest.approx(middle)
    assert line.GetNumberOfControlPoints() == 2
    ends = [line.GetNthControlPointPositionWorld(n) for n in range(2)]
    assert [(a + b) / 2 for a, b in zip(*ends, strict=True)] == pytest.approx(middle)
    assert all(bounds[0] < end[0] < bounds[1] for end in ends)
