"""The token that every call carries."""

from __future__ import annotations

import os
from pathlib import Path

from trails.errors import InvalidInput

TOKEN_VARIABLE = "TRAILS_SERVICE_TOKEN"
SHORTEST_TOKEN = 16


def check_token(token: str) -> None:
    """Refuse a token that could be guessed, or that no header can carry.

    Raises:
        InvalidInput: Shorter than 16 characters, or with other than printable ASCII characters.
    """
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise InvalidInput(
            f"a token has at least {SHORTEST_TOKEN} characters, printable ASCII without spaces",
            hint="For instance the output of: openssl rand -hex 32",
        )


def find_token(token: str | None = None, file: Path | None = None) -> str | None:
    """The token that was given, or of a file, or of TRAILS_SERVICE_TOKEN; None if there is none.

    Raises:
        InvalidInput: The file cannot be read.
    """
    if token is None and file is not None:
        try:
            token = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the token cannot be read from {file}", str(error)) from error
    return token or os.environ.get(TOKEN_VARIABLE) or None
