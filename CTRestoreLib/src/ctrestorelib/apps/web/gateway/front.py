"""What is answered to whom: the checks, the access link, and the way to a person's own page.

Order of the checks of every request: Host, foreign page, Origin of everything that changes
something, access link or cookie. Only then is anything looked up or passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp
from aiohttp import web

from ctrestorelib.apps.web.gateway import guards, pages, uploads
from ctrestorelib.apps.web.gateway.downloads import send_download
from ctrestorelib.apps.web.gateway.log import LOGGER, log_request
from ctrestorelib.apps.web.gateway.proxy import pass_request, pass_socket
from ctrestorelib.apps.web.gateway.sessions import Session, Sessions, State
from ctrestorelib.core.errors import CTRestoreError, InputError, ResourceError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DOCUMENTS = ("/", "/index.html")
_HOLD_S = 10.0  # how long a browser is kept waiting before it gets the page that asks again


class Front:
    """Answers requests.

    Parameters
    ----------
    sessions
        Who is here.
    client
        Speaks with the page processes.
    hosts
        Names under which the gateway may be called.
    token
        Key of the access link.
    max_upload_bytes
        Most bytes that one person may keep as uploads.
    """

    def __init__(
        self,
        sessions: Sessions,
        client: aiohttp.ClientSession,
        hosts: guards.Hosts,
        *,
        token: str,
        max_upload_bytes: int,
    ) -> None:
        self.port = 0  # known once the gateway listens; part of the cookie's name
        self._sessions, self._client, self._hosts = sessions, client, hosts
        self._token, self._max_upload_bytes = token, max_upload_bytes
        self._throttle = guards.Throttle()

    def application(self) -> web.Application:
        """Return the application with all routes."""
        app = web.Application(middlewares=[self._answer], client_max_size=1 << 20)
        app.on_response_prepare.append(_add_security_headers)
        app.router.add_post("/upload", self._upload)
        app.router.add_get("/limits", self._limits)
        app.router.add_get("/download/{name}", self._download)
        app.router.add_post("/session/new", self._new_session)
        app.router.add_post("/session/end", self._end_session)
        app.router.add_post("/paraview/", self._where_is_the_socket)
        app.router.add_route("*", "/{path:.*}", self._page)
        return app

    # The outermost layer

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = self._refusal(request) or await handler(request)
        except web.HTTPException as error:
            response = _own_page(pages.refused(error.reason), error.status)
        except (ConnectionError, aiohttp.ClientError, asyncio.TimeoutError):
            response = await self._page_is_gone(request)
        except Exception as error:  # noqa: BLE001 - a traceback could name files
            LOGGER.error("unexpected %s", type(error).__name__)
            response = _own_page(pages.refused("An internal error happened."), 500)
        log_request(request.method, request.path, response.status)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not self._hosts.allow(request.headers.get("Host", "")):
            sentence = "CTRestore was called by a name that it does not know (see --allow-host)."
            return _own_page(pages.refused(sentence), HTTPStatus.MISDIRECTED_REQUEST)
        if guards.is_foreign_fetch(request.headers):
            return _own_page(pages.refused("It comes from a page of another site."), 403)
        changes = request.method not in ("GET", "HEAD") or _wants_socket(request)
        if changes and not guards.is_own_origin(request.headers):
            return _own_page(pages.refused("It comes from a page of another site."), 403)
        return None

    async def _page_is_gone(self, request: web.Request) -> web.StreamResponse:
        session = self._session_of(request)
        if session is None:
            return _own_page(pages.sign_in(), 401)
        await asyncio.sleep(0.2)  # the end of a process is noticed a moment after its connections
        if session.state is State.RUNNING:
            return _own_page(pages.refused("The viewer did not answer. Reload the page."), 502)
        return self._state_page(session.state)

    # Sessions

    def _session_of(self, request: web.Request) -> Session | None:
        return self._sessions.find(request.cookies.get(self._cookie_name))

    @property
    def _cookie_name(self) -> str:
        return f"ctrestore-{self.port}"  # cookies do not know ports

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if "token" in request.query:
            return self._sign_in(request)
        session = self._session_of(request)
        if session is None:
            return self._stranger(request)
        if request.path in _DOCUMENTS and request.query_string:
            # The page's script would take an address to connect to from there.
            return _redirect(request.path)
        return await self._pass(request, session)

    def _stranger(self, request: web.Request) -> web.Response:
        from_elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site"
        if from_elsewhere and request.path == "/" and not request.query_string:
            # Browsers keep a strict cookie back on the way from another page; a visit that our
            # own page starts carries it.
            return _own_page(pages.again(), 200)
        return _own_page(pages.sign_in(), 401)

    def _sign_in(self, request: web.Request) -> web.Response:
        address = request.remote or ""
        wait = self._throttle.wait_s(address)
        if wait > 0:
            response = _own_page(pages.wait(int(wait) + 1), 429)
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        if not guards.same_secret(request.query["token"], self._token):
            self._throttle.wrong(address)
            return _own_page(pages.wrong_token(), 403)
        session = self._session_of(request)
        if session is not None and session.takes_a_place:
            return _redirect("/")
        return self._open()

    def _open(self) -> web.Response:
        try:
            cookie, _session = self._sessions.open()
        except ResourceError:
            return _own_page(pages.full(self._sessions.max_users), 503)
        response = _redirect("/")
        response.set_cookie(self._cookie_name, cookie, httponly=True, samesite="Strict", path="/")
        return response

    async def _new_session(self, request: web.Request) -> web.Response:
        session = self._session_of(request)
        if session is None:
            return _own_page(pages.sign_in(), 401)
        await self._sessions.end(session)
        return self._open()

    async def _end_session(self, request: web.Request) -> web.Response:
        session = self._session_of(request)
        if session is None:
            return _own_page(pages.sign_in(), 401)
        await self._sessions.end(session)
        return _redirect("/")

    def _state_page(self, state: State, *, is_document: bool = False) -> web.Response:
        if state is State.STARTING:
            return _own_page(pages.starting(), 200 if is_document else 503)
        if state is State.CRASHED:
            return _own_page(pages.crashed(), 503)
        if state is State.FAILED:
            return _own_page(pages.failed(), 503)
        idle = self._sessions.idle_s / 60 if state is State.IDLE else None
        return _own_page(pages.ended(idle), HTTPStatus.GONE)

    # What a session is used for

    async def _pass(self, request: web.Request, session: Session) -> web.StreamResponse:
        session.touch()
        state = await session.wait_ready(_HOLD_S)
        if state is not State.RUNNING or session.page is None:
            return self._state_page(state, is_document=request.path in _DOCUMENTS)
        if _wants_socket(request):
            return await pass_socket(request, session, session.page, self._client)
        return await pass_request(request, session.page, self._client)

    def _living(self, request: web.Request) -> Session:
        session = self._session_of(request)
        if session is None or not session.takes_a_place:
            message = "There is no session, or it has ended."
            raise InputError(message, hint="Open the page again.")
        session.touch()
        return session

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        try:
            session = self._living(request)
        except InputError as error:
            return _json_error(error, 401)
        session.working += 1
        try:
            async with session.uploading:
                limits = await asyncio.to_thread(self._limits_of, session)
                uploads.refuse_declared(request, limits)
                return web.json_response(await uploads.receive(request, session, limits))
        except CTRestoreError as error:
            return uploads.refusal(error)
        except OSError as error:
            return uploads.refusal(uploads.storage_error(error))
        finally:
            session.working -= 1

    def _limits_of(self, session: Session) -> uploads.Limits:
        return uploads.limits_of(session.folder, self._max_upload_bytes)

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        try:
            session = self._living(request)
        except InputError as error:
            return _json_error(error, 401)
        limits = await asyncio.to_thread(self._limits_of, session)
        return web.json_response(limits.to_json())

    async def _download(self, request: web.Request) -> web.StreamResponse:
        try:
            session = self._living(request)
        except InputError:
            return _own_page(pages.sign_in(), 401)
        session.working += 1
        try:
            return await send_download(request, session.folder, request.match_info["name"])
        except InputError as error:
            return _own_page(pages.refused(str(error)), 404)
        finally:
            session.working -= 1

    async def _where_is_the_socket(self, request: web.Request) -> web.StreamResponse:
        # trame's script asks for this first; without an answer it goes on after a console error.
        if self._session_of(request) is None:
            return _own_page(pages.sign_in(), 401)
        return web.json_response({"sessionURL": "ws://USE_HOST/ws"})


async def _add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in guards.SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    policy = guards.page_policy(request.headers.get("Host", ""))
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "CTRestore"


def _own_page(text: str, status: int) -> web.Response:
    headers = {"Content-Security-Policy": guards.OWN_POLICY, "Cache-Control": "no-store"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def _json_error(error: CTRestoreError, status: int) -> web.Response:
    response = web.json_response({"error": error.to_json()}, status=status)
    response.force_close()
    return response


def _redirect(path: str) -> web.Response:
    # The key is in the address that is left: it must go nowhere else.
    return web.Response(status=303, headers={"Location": path, "Referrer-Policy": "no-referrer"})


def _wants_socket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"
