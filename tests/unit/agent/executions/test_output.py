"""Slices of an output that was bounded: offsets stay true, characters whole."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.executions.output import CAP_BYTES, HEAD_BYTES, SLICE_BYTES, as_text, bound, read_log, tail


def read_all(path: Path) -> tuple[str, int]:
    text, offset, skipped = "", 0, 0
    while True:
        piece = read_log(path, offset, ended=True)
        text, skipped = text + piece.output, skipped + piece.skipped_bytes
        assert piece.next_offset > offset or piece.complete
        offset = piece.next_offset
        if piece.complete:
            return text, skipped


@given(
    text=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=50),
    pad=st.integers(0, 8),
)
def test_characters_are_never_cut(tmp_path_factory, text: str, pad: int):
    path = tmp_path_factory.mktemp("output") / "output"
    whole = "x" * (SLICE_BYTES - pad) + text
    path.write_bytes(whole.encode())
    assert read_all(path) == (whole, 0)


def test_middle_is_punched_out_and_offsets_stay_true(tmp_path: Path):
    path = tmp_path / "output"
    size = CAP_BYTES + 5 * 1024 * 1024 + 17
    path.write_bytes(b"h" * HEAD_BYTES + b"m" * (size - HEAD_BYTES - 4) + b"last")
    bound(path)
    assert path.stat().st_size == size
    assert path.stat().st_blocks * 512 <= CAP_BYTES + 64 * 1024
    text, skipped = read_all(path)
    assert len(text) + skipped == size
    assert skipped >= 5 * 1024 * 1024
    assert text[HEAD_BYTES - 1 : HEAD_BYTES + 1] == "hm"
    assert text.endswith("mlast")
    assert tail(path).endswith("mlast")


def test_output_that_is_gone_reads_as_empty_and_complete(tmp_path: Path):
    piece = read_log(tmp_path / "output", 0, ended=True)
    assert (piece.output, piece.complete) == ("", True)


def test_what_no_database_takes_is_replaced():
    assert as_text(b"a\x00\xff") == "a\ufffd\ufffd"
