import time

from tasks.differences import MAX_LINES, diff_lines


def test_only_what_changed_is_shown_with_what_is_round_it():
    before = "\n".join(f"line {number}" for number in range(20))
    found = diff_lines(before, before.replace("line 10", "another line"))
    assert "-line 10" in found
    assert "+another line" in found
    assert " line 7" in found
    assert " line 5" not in found


def test_same_script_has_no_difference():
    assert diff_lines("a\nb", "a\nb") == []


def test_values_that_look_secret_are_masked():
    found = "\n".join(
        diff_lines("", 'DB_PASSWORD=hunter2\napi-token: "abc"\nexport SECRET_KEY = xyz\nPORT=80')
    )
    assert "hunter2" not in found
    assert "abc" not in found
    assert "xyz" not in found
    assert "PORT=80" in found


def test_long_difference_is_cut_and_says_so():
    found = diff_lines("", "\n".join(str(number) for number in range(1000)))
    assert len(found) == MAX_LINES + 1
    assert found[-1].startswith("… and 8")


def test_line_of_a_megabyte_is_masked_in_linear_time_and_cut():
    began = time.process_time()
    shown = diff_lines("a", "x" * 1_000_000 + " token=hunter2")[-1]
    assert time.process_time() - began < 3, "squared, it would take hours"
    assert shown.startswith("+xxx")
    assert shown.endswith("(1000011 characters)")


def test_scripts_of_very_many_lines_are_not_compared():
    (said,) = diff_lines("a\n" * 20_000, "b\n" * 20_001)
    assert said == "too long to be compared: 20000 lines before, 20001 now"
