"""What stands before every page: who may look, signing in, and the headers that keep a browser strict.

The policy does not belong here: see `pipelines.live.access`. What is shown does not either: see
`pipelines.live.site`.
"""

import re
import time
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from connector.system.hosts import is_loopback
from pipelines.live.access import COOKIE, SIGNED_IN_S, Access
from pipelines.live.pages import Pages

SIGN_IN = "/sign-in"
_OWN_ADDRESS = re.compile(r"/(?![/\\])[!-~]*")
"""An address of ours. Browsers drop tabs and line breaks, after which `/\t/evil.com` is another site's."""
_OPEN_TO_ALL = (SIGN_IN, "/static/live.css")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Gate:
    """The gate of a site."""

    def __init__(self, access: Access, pages: Pages, *, is_https: bool) -> None:
        self._access = access
        self._pages = pages
        self._is_https = is_https

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses at which people sign in."""
        return [web.get(SIGN_IN, self.show_form), web.post(SIGN_IN, self.sign_in)]

    async def add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        """Add the headers of every answer."""
        response.headers.update(_HEADERS)

    @property
    def middleware(self) -> Middleware:
        """What looks at every request first."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._access.is_through_proxy(request.remote):
                return _refuse("Only the named proxy may connect.")
            if self._access.is_open and not _is_own_name(request):
                # a name of another site may point to this address, and its page could read ours
                return _refuse("The page is open on this machine alone, under localhost.")
            if request.path in _OPEN_TO_ALL or self._is_signed_in(request):
                return await handler(request)
            if request.path.startswith("/updates/"):
                return web.Response(status=HTTPStatus.UNAUTHORIZED, text="Sign in.\n")
            then = request.path_qs if request.method == "GET" else "/"
            raise web.HTTPSeeOther(request.rel_url.with_path(SIGN_IN).with_query({"then": then}))

        return check

    async def show_form(self, request: web.Request) -> web.Response:
        """Ask for the token."""
        return self._form(request.query.get("then", "/"))

    async def sign_in(self, request: web.Request) -> web.Response:
        """Look at the token, and go on to where somebody wanted to go."""
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return _refuse("Another site's page sent this.")
        try:
            form = await request.post()
        except ValueError:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text="This is no form.\n")
        then = str(form.get("then", "/"))
        now_s = time.time()
        is_right = self._access.try_token(str(form.get("token", "")), request.remote or "", now_s)
        if is_right is None:
            return self._form(then, "Too many wrong tries. Wait a minute.", HTTPStatus.TOO_MANY_REQUESTS)
        if not is_right:
            return self._form(then, "That is not the token.", HTTPStatus.FORBIDDEN)
        where = then if _OWN_ADDRESS.fullmatch(then) else "/"
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": where})
        response.set_cookie(
            COOKIE,
            self._access.cookie(now_s),
            max_age=SIGNED_IN_S,
            httponly=True,
            samesite="Lax",
            secure=self._is_https,
        )
        return response

    def _form(self, then: str, problem: str = "", status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        text = self._pages.render("sign_in", then=then, problem=problem)
        return web.Response(text=text, status=status, content_type="text/html")

    def _is_signed_in(self, request: web.Request) -> bool:
        return self._access.is_signed_in(request.cookies.get(COOKIE, ""), time.time())


def _is_own_name(request: web.Request) -> bool:
    name = request.host.rpartition(":")[0] or request.host
    return is_loopback(name if not request.host.endswith("]") else request.host)


def _refuse(reason: str) -> web.Response:
    return web.Response(status=HTTPStatus.FORBIDDEN, text=f"Refused: {reason}\n")
