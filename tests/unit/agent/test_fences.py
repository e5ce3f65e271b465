"""A fence counts once it is on disk, and not before."""

from pathlib import Path

import pytest

from agent.errors import Refused
from agent.fences import Fences


def test_lower_fence_is_refused_also_after_a_restart(tmp_path: Path):
    Fences(tmp_path).check("shop", 7)
    again = Fences(tmp_path)
    again.check("shop", 7)
    again.check("other", 1)
    with pytest.raises(Refused) as caught:
        again.check("shop", 6)
    assert caught.value.problem.status == 409


def test_fence_that_cannot_be_written_is_refused_and_forgotten(tmp_path: Path):
    fences = Fences(tmp_path)
    fences.check("shop", 3)
    in_the_way = tmp_path / ".fences.json.partial"
    in_the_way.mkdir()
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            fences.check("shop", 9)
        assert caught.value.problem.status == 507
    fences.check("shop", 3)
    in_the_way.rmdir()
    fences.check("shop", 9)
    Fences(tmp_path).check("shop", 9)
