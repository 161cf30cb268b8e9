"""Words of the page; those that the desktop module has too are the same there (layer: apps)."""

from __future__ import annotations

from ctrestorelib.core.params import ParamField
from ctrestorelib.mrml.parameters import Setting

CHOICES = {
    "automatic": "Automatic",
    "hu": "Hounsfield units (HU)",
    "per_mm": "Attenuation (1/mm)",
    "grey": "Grey values without a scale",
    "side_by_side": "Side by side",
    "three_up": "Original, result, removed noise",
    "wipe": "Wipe over each other",
    "checkerboard": "Checkerboard",
    "blend": "Blend",
    "four_up": "Up to four volumes",
    "Axial": "Axial",
    "Coronal": "Coronal",
    "Sagittal": "Sagittal",
    "All": "All three directions",
    "bone": "Bone (from 226 HU)",
    "soft tissue": "Soft tissue (-29 to 150 HU)",
    "lung": "Lung (-900 to -500 HU)",
    "bright": "Bright parts (automatic threshold)",
    "own range": "My own range",
    "existing segment": "A segment of mine",
    "stl": "STL (.stl)",
    "obj": "OBJ (.obj)",
    "horizontal": "Left to right",
    "vertical": "Up and down",
    ".nrrd": "NRRD (.nrrd)",
    ".nii.gz": "NIfTI (.nii.gz)",
    ".mha": "MetaImage (.mha)",
    ".tif": "TIFF (.tif)",
}

RESEARCH_ONLY = (
    "Research use only. A restored image can look better than it is: your original stays, compare "
    "with it."
)


def choice_label(choice: str) -> str:
    """Return the words for a stored choice."""
    return CHOICES.get(choice, choice.replace("-", " ").replace("_", " "))


def tip_of(setting: Setting) -> str:
    """Return what a setting does, its limits and its default."""
    if not isinstance(setting, ParamField):
        return setting.doc
    parts = [setting.info.doc]
    if setting.kind in ("int", "float") and setting.limits:
        unit = f" {setting.info.unit}" if setting.info.unit else ""
        parts.append(f"Allowed: {setting.limits}{unit}.")
    if setting.kind != "str":
        text = setting.default_text
        parts.append(f"Default: {choice_label(text) if setting.choices else text}.")
    return " ".join(parts)


def none_label(setting: ParamField) -> str:
    """Return what stands for None: "Automatic", "No lower end"."""
    return setting.info.none[:1].upper() + setting.info.none[1:]


def seconds_left(seconds: float | None) -> str:
    """Return the time left in words, "" as long as it is unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {seconds / 60:.0f} min left"
