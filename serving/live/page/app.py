"""The page's requests: what is shown, what is changed, and videos that are sent.

==============================  ===============================================================================
``GET /``, ``/static/...``      the page
``GET /api/state``              whether the session runs, its model and camera; people in the newest picture
``GET /api/choices``            models and cameras
``GET /api/timeline?since=T``   segments and events after a time, seconds since the epoch, and the time now
``GET /picture.mjpg``           the picture as it changes (MJPEG)
``POST /api/start``, ``stop``   with ``{"model": ..., "camera": ...}``, both optional
``POST /api/uploads?name=...``  a video as the body; ``&attention``: also draw where the model looks
``GET /api/uploads``            all uploads; ``GET`` and ``DELETE /api/uploads/ID``: one
``GET /api/uploads/ID/video``   the annotated video
``POST /api/login``             with ``{"token": ...}``
==============================  ===============================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import pathlib
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.live.page.access import LOGIN, Access
from serving.live.page.controls import Busy, Controls
from serving.live.page.newest import OLD_SECONDS, Newest
from serving.live.page.uploads import Full, Job, Uploads
from serving.live.state import LiveState
from zoo.shared.errors import UserError

STATIC = pathlib.Path(__file__).parent / "static"
PICTURES_PER_SECOND = 25  # sent to a browser at most
_LONGEST_JSON = 10_000  # bytes of a request that changes something
_BOUNDARY = "picture"
_UPLOAD_SECONDS = 60.0  # between two parts of a video
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Application:
    """The page of a session.

    Args:
        state: The session's :class:`~serving.live.state.LiveState`.
        controls: Starts and stops the session.
        newest: The session's newest picture.
        uploads: Videos that are annotated.
        host: Address that the server listens on, without brackets.
        token: Secret that a client has to know; ``None``: no secret is needed.

    Attributes:
        asgi: The ASGI application.
        closing: Event to set when the picture streams have to end.

    Raises:
        UserError: There is no token, but others can reach the address.
    """

    def __init__(
        self,
        state: LiveState,
        controls: Controls,
        newest: Newest,
        uploads: Uploads,
        host: str = "127.0.0.1",
        token: str | None = None,
    ):
        self._state, self._controls, self._newest, self._uploads = state, controls, newest, uploads
        self.closing = threading.Event()
        routes = [
            Route("/", self._page),
            Route(LOGIN, self._login_page),
            Route("/picture.mjpg", self._pictures),
            Route("/api/state", self._get_state),
            Route("/api/choices", self._get_choices),
            Route("/api/timeline", self._get_timeline),
            Route("/api/start", self._start, methods=["POST"]),
            Route("/api/stop", self._stop, methods=["POST"]),
            Route("/api/uploads", self._list_uploads),
            Route("/api/uploads", self._upload, methods=["POST"]),
            Route("/api/uploads/{key}", self._get_upload),
            Route("/api/uploads/{key}", self._delete_upload, methods=["DELETE"]),
            Route("/api/uploads/{key}/video", self._get_video),
            Route(LOGIN, self._log_in, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        handlers: dict[Any, Any] = {
            HTTPException: lambda _, error: _error(error.status_code, error.detail),
            UserError: lambda _, error: _error(400, error),
            Busy: lambda _, error: _error(409, error),
            Full: lambda _, error: _error(503, error),
        }
        self._access = Access(Starlette(routes=routes, exception_handlers=handlers), host, token)
        self.asgi = self._access

    # ---- what is shown

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _login_page(self, request: Request) -> Response:
        return FileResponse(STATIC / "login.html")

    async def _log_in(self, request: Request) -> Response:
        token = (await _document(request)).get("token", "")
        return await self._access.log_in(token, secure=request.url.scheme == "https")

    async def _get_state(self, request: Request) -> Response:
        shown = self._newest.document()
        found = {**self._controls.document(), **shown, "old_seconds": OLD_SECONDS, "now": time.time()}
        return JSONResponse(found)

    async def _get_choices(self, request: Request) -> Response:
        cameras = await run_in_threadpool(self._controls.cameras)
        return JSONResponse(
            {"models": list(self._controls.models), "cameras": [[key, name] for key, name in cameras.items()]}
        )

    async def _get_timeline(self, request: Request) -> Response:
        try:
            since = float(request.query_params.get("since", "0"))
        except ValueError:
            raise HTTPException(400, "since: expected seconds since the epoch") from None
        segments = [dataclasses.asdict(segment) for segment in self._state.segments(since)]
        return Response(
            json.dumps({"now": time.time(), "segments": segments, "events": self._state.events(since)}, default=str),
            media_type="application/json",
        )

    async def _pictures(self, request: Request) -> Response:
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(self._parts(), media_type=kind)

    async def _parts(self) -> AsyncIterator[bytes]:
        """Each new picture, as fast as the browser takes them."""
        shown = 0
        yield f"--{_BOUNDARY}\r\n".encode()
        while not self.closing.is_set():
            count = self._newest.count()
            if count != shown and count:
                jpeg = await run_in_threadpool(self._newest.jpeg)
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                # The next boundary follows at once: browsers show a picture when they have seen its end.
                yield head.encode() + jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()
            shown = count
            await asyncio.sleep(1 / PICTURES_PER_SECOND)

    # ---- what is changed

    async def _start(self, request: Request) -> Response:
        document = await _document(request)
        await run_in_threadpool(self._controls.start, document.get("model", ""), document.get("camera", ""))
        self._newest.forget()
        return JSONResponse(self._controls.document())

    async def _stop(self, request: Request) -> Response:
        await run_in_threadpool(self._controls.stop)
        self._newest.forget()
        return JSONResponse(self._controls.document())

    # ---- videos

    async def _list_uploads(self, request: Request) -> Response:
        jobs = [job.document() for job in self._uploads.all()]
        return JSONResponse({"uploads": jobs, "max_bytes": self._uploads.max_bytes})

    async def _upload(self, request: Request) -> Response:
        limit = self._uploads.max_bytes
        announced = request.headers.get("content-length", "0")
        if int(announced) > limit:
            raise HTTPException(413, _too_long(limit))
        asked = request.query_params
        job = self._uploads.new(asked.get("name", "video"), attention="attention" in asked)
        complete = False
        try:
            await _receive(request, job.source, limit)
            complete = True
        except ClientDisconnect:
            return Response(status_code=400)
        except asyncio.TimeoutError:
            raise HTTPException(408, f"no part of the video came for {_UPLOAD_SECONDS:g} s") from None
        except OSError as error:
            raise HTTPException(507 if error.errno in _NO_SPACE else 500, f"the video: {error.strerror}") from None
        finally:
            if not complete:
                self._uploads.remove(job.id)
        self._uploads.enqueue(job)
        return JSONResponse(job.document(), 202)

    async def _get_upload(self, request: Request) -> Response:
        return JSONResponse(self._job(request).document())

    async def _delete_upload(self, request: Request) -> Response:
        self._uploads.remove(self._job(request).id)
        return JSONResponse({})

    async def _get_video(self, request: Request) -> Response:
        job = self._job(request)
        if job.state != "done":
            raise HTTPException(404, f"{job.name}: is {job.state}")
        name = f"{pathlib.PurePath(job.name).stem}_annotated.mp4"
        kind = "attachment" if "download" in request.query_params else "inline"
        return FileResponse(job.result, media_type="video/mp4", filename=name, content_disposition_type=kind)

    def _job(self, request: Request) -> Job:
        job = self._uploads.get(request.path_params["key"])
        if job is None:
            raise HTTPException(404, "there is no such video, or no longer")
        return job


async def _receive(request: Request, path: pathlib.Path, limit: int) -> None:
    """Writes a body into a file."""
    size, parts = 0, request.stream().__aiter__()
    with open(path, "wb") as file:
        while True:
            try:
                part = await asyncio.wait_for(parts.__anext__(), _UPLOAD_SECONDS)
            except StopAsyncIteration:
                break
            size += len(part)
            if size > limit:
                raise HTTPException(413, _too_long(limit))
            file.write(part)
    if not size:
        raise HTTPException(400, "the video is empty")


async def _document(request: Request) -> dict[str, str]:
    """The JSON object in a request's body; its values must be text."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_JSON:
            raise HTTPException(413, "the request is too long")
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(body or b"{}")
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            "".join(found.values()).encode()  # ValueError: a lone surrogate, which no response can repeat
            return found
    raise HTTPException(400, "expected a JSON object whose values are text")


def _too_long(limit: int) -> str:
    return f"the video has more than {limit // 10**6} MB, which is the limit (--max-upload-mb)"


def _error(status: int, reason: object) -> Response:
    return JSONResponse({"error": str(reason)}, status)
