"""optuna-dashboard on a run: on loopback, for this machine's own browser and nobody else.

It has no password, and whoever reaches it can read the run and delete its Optuna study. So it
listens on loopback unless told otherwise, and there it answers a browser only under a name of
loopback: a page of a stranger's whose own name leads to 127.0.0.1 gets nothing, and none may
change anything from another origin.
"""

import sys
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET6
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from .errors import StudyError
from .run import find_run

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
LOOPBACK = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost", "::1")
"""Under which a browser on this machine asks."""


def serve_dashboard(
    path: Path, port: int, host: str = LOOPBACK, storage: str | None = None
) -> None:
    """Serves a run until Ctrl-C, of a database server all its studies.

    Raises StudyError where the address cannot be had.
    """
    if not host.strip():
        raise StudyError("--host: expected an address, 127.0.0.1 for instance; got nothing")
    run = find_run(path, storage)
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise StudyError(
            "the dashboard is an extra: install it with pip install '.[dashboard]' in its folder"
        ) from None
    private = is_loopback(host)
    from search.study_log import open_storage

    with run.ledger() as ledger:
        kept = run.url if run.storage is None else open_storage(ledger.database)
    app = guarded(wsgi(kept), private)
    server = WSGIServer if ":" not in host else _Server6
    try:
        listening = make_server(host, port, app, server, _Quiet)
    except (OSError, UnicodeError, TypeError) as error:  # a name that is none
        reason = getattr(error, "strerror", None) or error
        raise StudyError(f"--host {host} --port {port}: {reason}; choose another") from None
    if not private:
        print(
            f"warning: --host {host}: whoever reaches port {port} of this machine can read the "
            "run and delete its Optuna study; no password is asked",
            file=sys.stderr,
        )
    shown = f"[{host}]" if ":" in host else host
    print(f"optuna-dashboard of {path} on http://{shown}:{port}/ (Ctrl-C ends it)", flush=True)
    with listening:
        listening.serve_forever()


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guarded(app: Application, private: bool) -> Application:
    """The same application for the requests that `refusal` lets through."""

    def answer(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if reason := refusal(request, private):
            start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [reason.encode()]
        return app(request, start)

    return answer


def refusal(request: dict[str, Any], private: bool) -> str:
    """Why a request is not answered; empty where it is."""
    host, origin = request.get("HTTP_HOST", ""), request.get("HTTP_ORIGIN")
    if private and (urlsplit(f"//{host}").hostname or "") not in NAMES:
        return "asked under a name that is not this machine's own"
    if origin is not None and urlsplit(origin).netloc != host:
        return "asked from a page of another origin"
    return ""


class _Quiet(WSGIRequestHandler):
    """Without a line for each request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Server6(WSGIServer):
    address_family = AF_INET6
