"""The parameter node: typed, validated, saved with the scene, stored as Slicer's wrapper stores."""

from __future__ import annotations

import math

import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.params import ParamField, params_from, to_plain
from ctrestorelib.methods.registry import all_methods
from ctrestorelib.mrml.parameters import NodeField, ParameterStore, wrapper_annotations
from ctrestorelib.mrml.settings import all_settings, method_prefix
from ctrestorelib.mrml.tasks.task import params_of, set_params


def other_value(field: ParamField):
    """Return an allowed value that is not the default."""
    if field.kind == "bool":
        return not field.default
    if field.choices:
        return next(c for c in field.choices if c != to_plain(field.default))
    if field.kind == "str":
        return "a text with spaces, and = signs"
    low, high = field.info.bounds
    start = field.default if field.default is not None else (low or 0.0)
    if field.kind == "int":
        return next(v for v in (start + 1, start - 1) if high is None or low <= v <= high)
    target = high if high is not None and start != high else low
    return (start + target) / 2 if target is not None else start + 1.25


def test_every_setting_starts_at_its_default_and_takes_another_value(store):
    for name in store.names():
        setting = store.setting(name)
        if isinstance(setting, NodeField):
            assert store.get(name) is None
            continue
        assert store.get(name) == to_plain(setting.default), name
        value = other_value(setting)
        store.set(name, value)
        assert store.get(name) == value, name
        if setting.optional:
            store.set(name, None)
            assert store.get(name) is None


def test_values_survive_the_scene_file(store, context, tmp_path):
    store.node.SetName("settings to save")  # views of other tests may own parameter nodes as well
    volume = context.new_node("vtkMRMLScalarVolumeNode", "knee")
    store.update(
        {"denoise_strength": 0.25, "denoise_method": "bilateral", "input_volume": volume,
         "reconstruct_spacing_mm": None, "scan__views": 10}
    )  # fmt: skip
    path = tmp_path / "scene.mrml"
    context.scene.SetURL(str(path))
    assert context.scene.Commit(str(path))
    context.scene.Clear(0)
    context.scene.SetURL(str(path))
    assert context.scene.Import()
    node = context.scene.GetFirstNodeByName("settings to save")
    again = ParameterStore(node, all_settings())
    assert again.get("denoise_strength") == 0.25
    assert again.get("denoise_method") == "bilateral"
    assert again.get("reconstruct_spacing_mm") is None
    assert again.get("scan__views") == 10
    assert again.get("input_volume").GetName() == "knee"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("denoise_strength", 1.5, "at least 0 and at most 1"),
        ("denoise_strength", math.nan, "finite number"),
        ("scan__views", 2.5, "whole number"),
        ("compare_mode", "sideways", "one of"),
        ("input_harden", 1, "true or false"),
    ],
)
def test_a_refused_value_changes_nothing(store, name, value, words):
    before = store.get(name)
    with pytest.raises(UsageError, match=words):
        store.set(name, value)
    assert store.get(name) == before


def test_several_values_are_stored_together_or_not_at_all(store):
    with pytest.raises(UsageError):
        store.update({"denoise_strength": 0.5, "scan__views": 0})
    assert store.get("denoise_strength") == 1.0
    fired = []
    stop = store.observe(lambda: fired.append(1))
    store.update({"denoise_strength": 0.5, "scan__views": 12, "input_harden": True})
    assert len(fired) == 1
    store.set("denoise_strength", 0.5)
    assert len(fired) == 1, "an unchanged value must not fire"
    stop()
    store.set("denoise_strength", 0.75)
    assert len(fired) == 1


def test_a_node_of_another_class_is_refused_and_a_deleted_one_is_none(store, context):
    model = context.new_node("vtkMRMLModelNode", "surface")
    with pytest.raises(UsageError, match="must be a vtkMRMLScalarVolumeNode"):
        store.set("input_volume", model)
    volume = context.new_node("vtkMRMLScalarVolumeNode", "knee")
    store.set("input_volume", volume)
    context.scene.RemoveNode(volume)
    assert store.get("input_volume") is None


def test_a_value_from_an_older_scene_that_is_no_longer_allowed_gives_the_default(store):
    store.node.SetParameter("denoise_strength", "7.0")
    store.node.SetParameter("scan__views", "many")
    store.node.SetParameter("input_harden", "perhaps")
    assert store.get("denoise_strength") == 1.0
    assert store.get("scan__views") == 180
    assert store.get("input_harden") is False


def test_an_unknown_name_is_an_error(store):
    with pytest.raises(KeyError, match="no setting called 'denoise_strenght'"):
        store.set("denoise_strenght", 1)


def test_parameters_of_every_method_go_through_the_node(store):
    for method_id, restorer in all_methods().items():
        fields = {n.removeprefix(method_prefix(method_id)): store.setting(n)
                  for n in store.names(method_prefix(method_id))}  # fmt: skip
        values = {n: other_value(f) for n, f in fields.items() if f.kind not in ("int",)}
        set_params(store, method_id, values)
        assert params_from(restorer.Params, params_of(store, method_id)) == params_from(
            restorer.Params, values
        )
        set_params(store, method_id, {})
        assert params_of(store, method_id) == {}


def test_the_wrapper_class_has_identifiers_and_known_types(store):
    for name, (annotation, _default) in wrapper_annotations(all_settings()).items():
        assert name.isidentifier()
        assert annotation in (bool, int, float, str) or annotation.__name__.startswith("vtkMRML")
