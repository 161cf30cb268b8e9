#!/usr/bin/env python3
"""Draw the pictures of Docs/pictures/app: the page of ``ctrestore app`` in Chromium.

Everything shown is a procedural knee; no patient. Run: python3 Scripts/app_pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Testing" / "web"))
from story_page import Person, chromium, served  # noqa: E402

TARGET = ROOT / "Docs" / "pictures" / "app"
SIZE = (1440, 860)


class Artist:
    """Walks through the page and takes pictures."""

    def __init__(self, person: Person, target: Path) -> None:
        self.person, self.tab, self.target = person, person.tab, target

    def take(self, name: str, views: int) -> None:
        """Keep a picture once every view has come to rest and no message covers it."""
        self.person.sees_views(views)
        self.tab.mouse.move(5, 5)
        for view in range(views):
            self.person.settled(view)
        if self.tab.locator(".v-snackbar button").is_visible():
            self.tab.locator(".v-snackbar button").click()
        self.tab.evaluate("document.activeElement?.blur()")
        self.tab.wait_for_timeout(700)
        self.tab.screenshot(path=self.target / f"{name}.png")

    def only(self, title: str) -> None:
        """Open one section."""
        self.person.closes_all()
        self.person.opens(title)

    def draw(self) -> None:
        """Take all pictures."""
        person = self.person
        self.take("start", 4)
        person.presses("volume", "phantom")
        person.reads("voxels of")
        self.take("knee", 4)
        person.presses("denoise", "apply")
        person.reads(r"Done in .*", ".v-expansion-panel .pg-status")
        self.only("5. Compare")
        person.presses("compare", "show")
        person.sees_views(2)
        self.only("2. Remove noise")
        self.take("denoise", 2)
        self.only("5. Compare")
        person.chooses("compare_mode", "Wipe")
        self.take("wipe", 1)
        self.only("6. Segment")
        person.presses("segment", "segment")
        person.reads(r"Dice\s+-\s+[\d.]+", ".pg-table")
        person.presses("segment", "surface")
        self.take("segment", 4)
        self.only("5. Compare")
        person.chooses("compare_mode", "Side by side")
        self.tab.locator("summary", has_text="Measure").click()
        person.presses("compare", "quality")
        person.reads("Verdict.*", ".pg-status")
        self.take("quality", 2)


def main(arguments: list[str]) -> None:
    """Write all pictures into a folder."""
    target = Path(arguments[0]) if arguments else TARGET
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as app, chromium() as play:
        browser: Any = play
        person = Person(browser, app.link, size=SIZE)
        person.sees_page()
        Artist(person, target).draw()
        person.leaves(app)


if __name__ == "__main__":
    main(sys.argv[1:])
