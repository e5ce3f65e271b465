"""Secrets at rest: agents' tokens are kept encrypted (Fernet), tokens that callers present as SHA-256."""

import hashlib
import hmac
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from db.errors import PermanentDatabaseError
from db.private_files import read_or_create
from db.settings import secret_key_file


class SecretBox:
    """Encrypts and decrypts text with one key (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, key: str) -> None:
        try:
            self._fernet = Fernet(key)
        except ValueError as error:
            raise PermanentDatabaseError("cannot use the secret key: it is not a Fernet key") from error

    def encrypt(self, text: str) -> bytes:
        """The text, encrypted; different each time."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, token: bytes | str) -> str:
        """The text again. Raises PermanentDatabaseError if another key encrypted it."""
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken as error:
            raise PermanentDatabaseError(
                "cannot decrypt a secret: it was encrypted with another key (see HOIST_SECRET_KEY_FILE)"
            ) from error


def load_secret_key(path: Path | None = None) -> SecretBox:
    """The box with the key in `path` (default: HOIST_SECRET_KEY_FILE), which is made, 0600, when it is missing."""
    return SecretBox(read_or_create(path or secret_key_file(), Fernet.generate_key().decode()))


def new_token() -> str:
    """A new token: 256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def sha256_hex(token: str) -> str:
    """What is kept of a token that a caller presents."""
    return hashlib.sha256(token.encode()).hexdigest()


def same_digest(one: str, other: str) -> bool:
    """Whether two digests are the same, in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())
