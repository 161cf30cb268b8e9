"""Per-slice values of classic files and of enhanced multi-frame files (layer: io).

An enhanced file holds each value either once for all frames or frame by frame, inside functional
groups (DICOM PS3.3, C.7.6.16); a frame's own group is asked first, then the shared one, then the
root of the file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.frames import FrameHeader

MAX_FRAMES = 65_536
_LOCALIZER_WORDS = ("LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM")


def frame_headers(dataset: Any) -> tuple[FrameHeader, ...]:
    """Return one header per frame.

    Raises
    ------
    InputError
        If the number of frames is absurd or does not fit the functional groups.
    """
    count = elements.whole(dataset, "NumberOfFrames", 1)
    groups = elements.items(dataset, "PerFrameFunctionalGroupsSequence")
    if not 1 <= count <= MAX_FRAMES:
        message = f"A DICOM file claims {count} frames; between 1 and {MAX_FRAMES} are possible."
        raise InputError(message, hint="Export the series again.")
    if groups and len(groups) != count:
        message = f"A multi-frame file claims {count} frames but describes {len(groups)}."
        raise InputError(message, hint="Export the series again.")
    shared = elements.first_item(dataset, "SharedFunctionalGroupsSequence")
    if not groups:  # nothing differs between frames
        alike = [shared] if shared is not None else []
        first = _frame(dataset, alike, 0, count, {})
        return tuple(replace(first, frame=n) for n in range(count))
    places = [[g for g in (own, shared) if g is not None] for own in groups]
    stacks: dict[str, int] = {}
    return tuple(_frame(dataset, place, index, count, stacks) for index, place in enumerate(places))


def _frame(
    root: Any, groups: list[Any], index: int, count: int, stacks: dict[str, int]
) -> FrameHeader:
    position = _group(root, groups, "PlanePositionSequence")
    orientation = _group(root, groups, "PlaneOrientationSequence")
    measures = _group(root, groups, "PixelMeasuresSequence")
    rescale = _group(root, groups, "PixelValueTransformationSequence")
    kind = _group(root, groups, "CTImageFrameTypeSequence")
    number = elements.number(root, "InstanceNumber") if count == 1 else None
    content = _group(root, groups, "FrameContentSequence")
    # Stack names may be any text, so only their order of appearance is kept.
    stack = stacks.setdefault(elements.text(content, "StackID"), len(stacks))
    words = elements.texts(root, "ImageType") + elements.texts(kind, "FrameType")
    return FrameHeader(
        frame=index,
        number=None if number is None else int(number),
        position=elements.numbers(position, "ImagePositionPatient", 3),
        orientation=elements.numbers(orientation, "ImageOrientationPatient", 6),
        pixel_spacing=elements.numbers(measures, "PixelSpacing", 2),
        thickness_mm=elements.number(measures, "SliceThickness"),
        slope=elements.number(rescale, "RescaleSlope"),
        intercept=elements.number(rescale, "RescaleIntercept"),
        rescale_type=elements.code(rescale, "RescaleType"),
        is_localizer=any(word in _LOCALIZER_WORDS for word in words),
        part=(stack, elements.whole(content, "TemporalPositionIndex")),
    )


def _group(root: Any, groups: list[Any], keyword: str) -> Any:
    for group in groups:
        found = elements.first_item(group, keyword)
        if found is not None:
            return found
    return root
