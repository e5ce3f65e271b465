"""Values as text: whatever a server sends, nothing of it steers the terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.cells import cell, clean, clean_text, duration, size

ANY_TEXT = st.text(st.characters(), max_size=50) | st.text(
    st.sampled_from("\x00\x07\x08\x1b\x7f\x9b\u202e\u2066\u2028\r\n\tab"), max_size=50
)


@given(ANY_TEXT)
def test_clean_leaves_one_line_without_control_characters(text):
    cleaned = clean(text)
    assert not [one for one in cleaned if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(cleaned) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert clean(cleaned) == cleaned


@given(ANY_TEXT)
def test_text_of_several_lines_keeps_its_lines_and_tabs_alone(text):
    cleaned = clean_text(text)
    assert cleaned.count("\n") == text.count("\n")
    assert cleaned.count("\t") == text.count("\t")
    assert not [one for one in cleaned if unicodedata.category(one) == "Cc" and one not in "\n\t"]


@given(st.text(st.characters(whitelist_categories=["L", "N", "P", "So"]), max_size=30))
def test_letters_of_every_script_stay(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        ("", "–"),
        ([], "–"),
        ({}, "–"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.0, "0.0"),
        (12.345, "12.3"),
        ("2030-01-02T03:04:05.678901Z", "2030-01-02 03:04:05Z"),
        ("2030-01-02T03:04:05+00:00", "2030-01-02 03:04:05Z"),
        ("2030-01-02T03:04:05+01:00", "2030-01-02T03:04:05+01:00"),
        ({"b": 2, "a": None}, "a=–, b=2"),
        (["a", 1], "a, 1"),
        ({"a\x1b[2J": "b\x1b[2J"}, "a[2J=b[2J"),
        (["\x1bc", {"x": "\x9b1m"}], "c, x=1m"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown


def test_sizes_and_durations():
    assert (size(None), size(3 * 2**20)) == ("–", "3.0 MiB")
    assert [duration(ms) for ms in (None, 0, 1250, 61_999)] == ["–", "0.0 s", "1.2 s", "1 min 1 s"]
