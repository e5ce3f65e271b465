from pathlib import Path

import pytest

from db.errors import PermanentDatabaseError
from db.ids import is_id, new_id
from db.secrets import SecretBox, load_secret_key, new_token, same_digest, sha256_hex
from db.settings import database_url, hoist_home, parse_url, secret_key_file


def test_defaults_are_in_the_owners_home():
    environment = {"HOME": "/home/ann"}
    assert hoist_home(environment) == Path("/home/ann/.hoist")
    assert database_url(environment) == "sqlite:////home/ann/.hoist/hoist.db"
    assert secret_key_file(environment) == Path("/home/ann/.hoist/secret.key")
    assert database_url({**environment, "HOIST_DATABASE_URL": "sqlite:////x"}) == "sqlite:////x"
    assert database_url({**environment, "HOIST_DATABASE_URL": ""}) == "sqlite:////home/ann/.hoist/hoist.db"


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://u:hunter2@h/x", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused_without_echoing_the_url(url: str):
    with pytest.raises(PermanentDatabaseError) as refusal:
        parse_url(url)
    assert "hunter2" not in str(refusal.value)


def test_postgresql_is_reached_through_psycopg():
    assert parse_url("postgresql://h/x").drivername == "postgresql+psycopg"


def test_ids_are_version_7_and_sort_by_time():
    ids = [new_id() for _ in range(5000)]
    assert all(is_id(one) and one[14] == "7" and one[19] in "89ab" for one in ids)
    assert ids == sorted(set(ids))
    assert not any(
        is_id(one) for one in ("", "shop", ids[0] + "0", "{" + ids[0] + "}", ids[0].replace("-", ""))
    )


def test_what_one_key_encrypts_no_other_decrypts(tmp_path: Path):
    box = load_secret_key(tmp_path / "one.key")
    secret = box.encrypt("hunter2")
    assert b"hunter2" not in secret
    assert load_secret_key(tmp_path / "one.key").decrypt(secret) == "hunter2"
    with pytest.raises(PermanentDatabaseError, match="another key"):
        load_secret_key(tmp_path / "other.key").decrypt(secret)
    with pytest.raises(PermanentDatabaseError, match="not a Fernet key"):
        SecretBox("short")


def test_tokens_are_long_different_and_compared_by_their_hash():
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(token) >= 43 for token in tokens)
    token = tokens.pop()
    assert same_digest(sha256_hex(token), sha256_hex(token))
    assert not same_digest(sha256_hex(token), sha256_hex(token + "x"))
