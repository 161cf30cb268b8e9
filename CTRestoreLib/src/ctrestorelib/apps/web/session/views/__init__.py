"""The views of the browser page (layer: apps)."""

from ctrestorelib.apps.web.session.views.page_views import PageViews, build_views

__all__ = ["PageViews", "build_views"]
