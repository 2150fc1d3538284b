"""How the stand-in refuses a call."""

from __future__ import annotations


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
