"""The command line against the release API on a real port, on both databases."""

import io
import json
import sys
from dataclasses import dataclass

import pytest

from api.cli.__main__ import main
from tests.integration.api.conftest import operator, served
from tests.served_api import OPERATOR

__all__ = ["operator", "served"]


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        """The output's lines, cut at two or more spaces."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.out.splitlines()]


@pytest.fixture
def hoist(served, monkeypatch, capsys):
    """Run one command as `hoist` does; it fails the test where it ends with another code than `code`."""
    monkeypatch.setenv("HOIST_API_URL", served.url)
    monkeypatch.setenv("HOIST_API_TOKEN", OPERATOR)

    def run(*arguments, code=0, stdin=None):
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        ended = main([str(one) for one in arguments])
        said = capsys.readouterr()
        assert ended == code, said
        assert OPERATOR not in said.out + said.err
        return Ended(ended, said.out, said.err)

    return run
