"""The few pages that the gateway itself shows (layer: apps): plain sentences, at most one button.

They work without scripts and load nothing.
"""

from __future__ import annotations

import html

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;background:#15191e;color:#e8ecf1;display:grid;"
    "place-items:center;min-height:90vh;margin:1rem}main{max-width:34rem}h1{font-size:1.4rem}"
    "button{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.4rem;background:#4da3ff;"
    "color:#08131f;cursor:pointer}"
)
_ICON = '<link rel="icon" href="data:,">'  # or the browser asks for one and complains
_NEW = (
    '<form method="post" action="/session/new"><button type="submit">Start a new session'
    "</button></form>"
)


def _page(title: str, *paragraphs: str, extra: str = "", head: str = "") -> str:
    text = "".join(f"<p>{html.escape(p)}</p>" for p in paragraphs)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        f'</title><meta name="viewport" content="width=device-width">{_ICON}{head}'
        f"<style>{_STYLE}</style></head><body><main><h1>{html.escape(title)}</h1>{text}{extra}</main></body></html>"
    )


def starting() -> str:
    """Shown while the page process starts; asks again by itself."""
    return _page(
        "CTRestore is starting",
        "The viewer is being prepared. This page continues by itself.",
        head='<meta http-equiv="refresh" content="1">',
    )


def again() -> str:
    """Send a browser that came from elsewhere to the same page as a visit of its own."""
    return _page("CTRestore", "One moment.", head='<meta http-equiv="refresh" content="0;url=/">')


def sign_in() -> str:
    """Shown to a browser without a session."""
    return _page(
        "An access link is needed",
        "Open CTRestore with the whole link that was printed when it was started; it ends with "
        "'?token=' and a long key.",
        "If you had a session, it has ended, or the program was started anew.",
    )


def wrong_token() -> str:
    """Shown after a token that is not the right one."""
    return _page(
        "This access link is not valid",
        "The key in the link is not the one of this run. Each start of CTRestore prints a new link "
        "(unless the operator set a fixed key).",
    )


def wait(seconds: int) -> str:
    """Shown after too many wrong tokens."""
    return _page(
        "Too many wrong keys",
        f"Wait {seconds} seconds, then open the whole link that was printed.",
    )


def full(places: int) -> str:
    """Shown when every place is taken."""
    return _page(
        "All places are taken",
        f"{places} people are working here, which is as many as the operator allows. Nothing of "
        "theirs is affected. Try again later.",
    )


def crashed() -> str:
    """Shown when the page process ended without being asked."""
    return _page(
        "The viewer stopped unexpectedly",
        "The program behind this page has ended, most often because memory ran out. Your original "
        "files are unchanged. What was open here is lost; files saved before are not.",
        "A new session starts empty and wipes the uploads and results of this one.",
        extra=_NEW,
    )


def failed() -> str:
    """Shown when the page process could not start."""
    return _page(
        "The viewer could not start",
        "The program behind this page did not come up. The operator finds the reason by starting "
        "CTRestore with --debug.",
        extra=_NEW,
    )


def ended(minutes: float | None) -> str:
    """Shown after a session ended, by a click or (``minutes``) because nobody used it."""
    why = (
        "You ended the session."
        if minutes is None
        else f"Nobody used it for {minutes:g} minutes and no restoration was running."
    )
    return _page("The session has ended", why, "Uploads and results were wiped.", extra=_NEW)


def refused(sentence: str) -> str:
    """Shown when a request itself is not acceptable."""
    return _page("This request is not accepted", sentence)
