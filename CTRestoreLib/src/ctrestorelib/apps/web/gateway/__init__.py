"""The front door of ``ctrestore app`` (layer: apps; knows neither the scene nor trame).

One process listens. Every browser gets a cookie, a private folder and a page process of its own;
requests are passed on to that process and to no other. ``server.Gateway`` puts the parts together.

What a page process does
    It is started as ``python -m ctrestorelib.apps.web.session --folder DIR --port 0 [--open PATH]
    [--root DIR]``, listens on 127.0.0.1, prints ``{"port": N}`` as one line, calls
    ``attach.attach(app)`` before it listens (without that it is refused), answers ``GET /status``
    with ``{"busy": true}`` while a restoration runs or waits, and ends on SIGTERM.

What its page can use, all below the page's own address
    ``POST /upload`` (see ``uploads``), ``GET /limits``, ``GET /download/NAME`` for files that lie
    in ``DIR/downloads``, ``POST /session/end`` and ``POST /session/new``. Every other path is
    passed on to the page process. A lost WebSocket is followed by a reload: the gateway then shows
    what happened. ``paths.find_upload`` turns an upload's id into a path; ``paths.confine`` checks
    a path that a person typed.
"""
