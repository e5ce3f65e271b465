import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.processes.matching import compile_name, full_name, joined


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("nginx", "nginx", True),
        ("nginx", "nginx2", False),
        ("ngin", "nginx", False),
        ("ngin?", "nginx", True),
        ("ng*", "nginx", True),
        ("*", "", True),
        ("a[b]", "a[b]", True),
        ("a[b]*", "a[b]c", True),
        ("a[b]*", "ab", False),
        ("a.c*", "abc", False),
        ("(sd-pam)", "(sd-pam)", True),
        ("a*", "a\nb", True),
    ],
)
def test_name_pattern_covers_the_whole_name(pattern, name, matches):
    assert compile_name(pattern)(name) is matches


@given(st.text(alphabet="ab[]!.^$\\(){}+|", max_size=20))
def test_without_stars_a_pattern_matches_only_itself(text):
    assert compile_name(text)(text)
    assert compile_name("*" + text)("zz" + text)
    assert not compile_name(text + "?")(text)


def test_many_stars_stay_fast():
    assert not compile_name("*a" * 200 + "b")("a" * 255)


def test_cut_name_is_completed_from_the_executable():
    assert full_name(b"a-very-long-pro", b"x\0", lambda: "/opt/a-very-long-program") == "a-very-long-program"


def test_cut_name_of_a_script_is_completed_from_its_arguments():
    raw = b"/usr/bin/python3\0/opt/a-very-long-script.py\0"
    assert full_name(b"a-very-long-scr", raw, lambda: "/usr/bin/python3") == "a-very-long-script.py"


def test_renamed_process_keeps_the_name_it_gave_itself():
    assert full_name(b"fifteen-chars-x", b"/bin/app\0", lambda: "/bin/app") == "fifteen-chars-x"


def test_short_name_does_not_ask_for_the_executable():
    assert full_name(b"sh", b"", lambda: pytest.fail("asked")) == "sh"


@given(st.lists(st.binary(min_size=1, max_size=5).filter(lambda b: b"\0" not in b), min_size=1))
def test_arguments_are_joined_by_one_space(arguments):
    assert joined(b"".join(argument + b"\0" for argument in arguments)) == b" ".join(arguments)
