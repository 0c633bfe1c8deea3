# SPDX-License-Identifier: Apache-2.0
"""Every error of our REST is an RFC 9457 problem document that says what to do; nothing internal ever gets out.

`ProblemError` is raised by use-cases and routes; `install_problem_answers` turns it, wrong requests, an absent database
and everything unexpected into documents. `BodyLimit` refuses large bodies before they are read into memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postman_contracts.problems import MEDIA_TYPE, FieldError, Problem, ProblemType, problem_type
from postman_kit.db import DatabaseUnavailable

BODY_BYTES_MAX: Final = 64 * 1024
RETRY_AFTER_S: Final = 1
_FIELD_ERRORS_MAX: Final = 20
_FIELD_TEXT_MAX: Final = 200

_log = structlog.get_logger(__name__)


class ProblemError(Exception):
    """An error with a document: `detail` tells the caller what to do."""

    def __init__(
        self,
        kind: ProblemType,
        status: int,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.problem = Problem(type=problem_type(kind), title=title, status=status, detail=detail, errors=errors)
        self.headers = dict(headers or {})


class ProblemResponse(JSONResponse):
    """A JSON answer of the problem media type."""

    media_type = MEDIA_TYPE


def unavailable(detail: str) -> ProblemError:
    """503: what the request needs is away for the moment; the same request may be sent again."""
    return ProblemError(
        ProblemType.UNAVAILABLE,
        503,
        "Temporarily unavailable",
        detail,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def problem_answer(error: ProblemError) -> ProblemResponse:
    """The document as an answer."""
    document = error.problem.model_dump(mode="json", exclude_none=True)
    return ProblemResponse(document, status_code=error.problem.status, headers=error.headers)


def _from_validation(error: RequestValidationError) -> ProblemError:
    fields = []
    for item in error.errors()[:_FIELD_ERRORS_MAX]:
        place = ".".join(str(part) for part in item["loc"] if part != "body") or "body"
        fields.append(FieldError(field=_plain(place), message=_plain(str(item["msg"]))))
    names = ", ".join(dict.fromkeys(field.field for field in fields))
    return ProblemError(
        ProblemType.INVALID_REQUEST,
        422,
        "The request is not valid",
        f"Correct and send again: {names}. The member 'errors' says what is wrong with each.",
        errors=fields,
    )


def _plain(text: str) -> str:
    """Names of fields come from the caller: cut, and without halves of surrogate pairs, which UTF-8 cannot write."""
    return text[:_FIELD_TEXT_MAX].encode("utf-8", "backslashreplace").decode()


_KIND_OF_STATUS: Final = {
    401: ProblemType.UNAUTHORISED,
    403: ProblemType.FORBIDDEN,
    404: ProblemType.NOT_FOUND,
    405: ProblemType.METHOD_NOT_ALLOWED,
    413: ProblemType.BODY_TOO_LARGE,
}


def _from_http(error: HTTPException) -> ProblemError:
    kind = _KIND_OF_STATUS.get(error.status_code, ProblemType.HTTP_ERROR)
    title = HTTPStatus(error.status_code).phrase
    return ProblemError(kind, error.status_code, title, str(error.detail), headers=error.headers)


def install_problem_answers(app: FastAPI) -> None:
    """Make every error answer of this application a problem document."""

    async def on_problem(_: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, ProblemError)
        return problem_answer(error)

    async def on_validation(_: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, RequestValidationError)
        return problem_answer(_from_validation(error))

    async def on_http(_: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, HTTPException)
        return problem_answer(_from_http(error))

    async def on_database(request: Request, error: Exception) -> ProblemResponse:
        _log.warning("database unavailable", path=request.url.path, error=str(error))
        return problem_answer(unavailable("The database does not answer. Send the same request again shortly."))

    async def on_unexpected(request: Request, error: Exception) -> ProblemResponse:
        _log.error("unexpected error", path=request.url.path, error=type(error).__name__)
        return problem_answer(
            ProblemError(
                ProblemType.INTERNAL,
                500,
                "Internal error",
                "This is a fault of the service; its log has the details. Sending the request again may help.",
            )
        )

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(DatabaseUnavailable, on_database)
    app.add_exception_handler(Exception, on_unexpected)


class BodyLimit:
    """ASGI middleware: a request body beyond the limit is answered with 413, declared or streamed."""

    def __init__(self, app: ASGIApp, bytes_max: int = BODY_BYTES_MAX) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _content_length(scope)
        if declared is not None and declared > self._bytes_max:
            await problem_answer(_from_http(self._too_large()))(scope, receive, send)
            return
        seen_bytes = 0

        async def counted() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > self._bytes_max:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The body may have at most {self._bytes_max} bytes.")


def _content_length(scope: Mapping[str, Any]) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
