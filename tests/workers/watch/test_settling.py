"""When a file is complete, on a clock of our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadOption
from workers.watch.records import Look
from workers.watch.settling import SettleOptions, Settling

FILM = Look(Path("/in/film.mp4"), Path("/in"), 1_200_000_000, 1_700_000_000 * 10**9, 42)


def settling(quiet_s=5.0, looks=2):
    return Settling(SettleOptions(quiet_s, looks))


def test_a_file_that_stays_the_same_is_complete_after_the_quiet_time():
    eyes = settling()
    assert eyes.see(FILM, 100) == "new: 1.2 GB, quiet for 0 of 5 s"
    assert eyes.see(FILM, 103.9) == "new: 1.2 GB, quiet for 3 of 5 s"
    assert eyes.see(FILM, 105) is None
    assert eyes.see(FILM, 106) is None
    assert eyes.waiting() == ()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"size_bytes": 1_300_000_000}, "still growing: 1.3 GB"),
        ({"size_bytes": 5}, "still changing: 5 bytes"),
        ({"mtime_ns": 0}, "still changing: 1.2 GB"),
        ({"mtime_ns": FILM.mtime_ns + 1}, "still changing: 1.2 GB"),
        ({"inode": 43}, "replaced: 1.2 GB"),
    ],
)
def test_any_change_starts_the_quiet_time_again_even_of_a_complete_file(changes, word):
    eyes = settling()
    eyes.see(FILM, 0)
    assert eyes.see(FILM, 5) is None
    changed = replace(FILM, **changes)
    assert eyes.see(changed, 6) == f"{word}, quiet for 0 of 5 s"
    assert eyes.see(changed, 10.9) == f"{word}, quiet for 4 of 5 s"
    assert eyes.see(changed, 11) is None


def test_a_file_that_alternates_between_two_states_never_settles():
    eyes = settling()
    for second in range(100):
        assert eyes.see(replace(FILM, inode=second % 2), second)


@pytest.mark.parametrize("mtime_ns", [0, -(10**18), 2**62])
def test_what_the_file_says_of_its_own_time_does_not_matter(mtime_ns):
    eyes = settling()
    eyes.see(replace(FILM, mtime_ns=mtime_ns), 7)
    assert eyes.see(replace(FILM, mtime_ns=mtime_ns), 12) is None


def test_an_empty_file_is_complete_only_after_a_long_time_and_says_for_how_long():
    eyes = settling()
    eyes.see(replace(FILM, size_bytes=0), 0)
    assert eyes.see(replace(FILM, size_bytes=0), 59) == "empty for 59 s"
    assert eyes.see(replace(FILM, size_bytes=0), 60) is None
    assert eyes.see(FILM, 61) == "still growing: 1.2 GB, quiet for 0 of 5 s"


def test_one_look_is_not_enough_however_long_ago_it_was():
    eyes = settling(quiet_s=0)
    assert eyes.see(FILM, 0) == "new: 1.2 GB, waits for another look"
    assert eyes.see(FILM, 0) is None
    patient = settling(looks=3)
    patient.see(FILM, 0)
    assert patient.see(FILM, 1000)
    assert patient.see(FILM, 1000) is None


def test_files_do_not_disturb_each_other():
    eyes = settling()
    other = replace(FILM, path=Path("/in/other.mp4"))
    eyes.see(FILM, 0)
    eyes.see(other, 4)
    assert eyes.see(FILM, 5) is None
    assert eyes.see(other, 5)
    assert [each.path for each in eyes.waiting()] == [other.path]


def test_what_is_forgotten_starts_anew():
    eyes = settling()
    other = replace(FILM, path=Path("/in/other.mp4"))
    eyes.see(FILM, 0)
    eyes.see(other, 0)
    eyes.forget(FILM.path)
    eyes.forget(Path("/in/never seen.mp4"))
    assert eyes.looks == (other,)
    assert eyes.see(other, 5) is None
    assert eyes.see(FILM, 5) == "new: 1.2 GB, quiet for 0 of 5 s"


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (1, "1 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_940, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_are_said_as_file_managers_do(size_bytes, words):
    assert words in settling().see(replace(FILM, size_bytes=size_bytes), 0)


@pytest.mark.parametrize("wrong", [{"quiet_s": -1}, {"quiet_s": float("nan")}, {"looks": 0}])
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadOption):
        SettleOptions(**wrong)


PAUSES = st.lists(st.floats(0, 4.999), min_size=1, max_size=30)


@given(PAUSES, st.floats(0, 1e6))
def test_a_file_that_grows_after_pauses_shorter_than_the_quiet_time_never_settles(pauses, now_s):
    eyes = settling()
    for size, pause_s in enumerate(pauses, 1):
        assert eyes.see(replace(FILM, size_bytes=size), now_s)
        assert eyes.see(replace(FILM, size_bytes=size), now_s + pause_s)
        now_s += pause_s


STEPS = st.lists(
    st.tuples(st.integers(0, 1000), st.sampled_from(["same", "same", "grow", "touch", "replace"])),
    max_size=40,
)


@given(STEPS, st.integers(0, 2000), st.integers(1, 4))
def test_it_settles_at_the_first_look_that_fulfils_the_rule_and_at_no_other(steps, quiet_s, looks):
    eyes = settling(quiet_s, looks)
    look, now_s = FILM, 0
    alike = [0]  # the times of the looks that saw it as it is now
    eyes.see(look, now_s)
    for pause_s, what in steps:
        now_s += pause_s
        if what == "grow":
            look = replace(look, size_bytes=look.size_bytes + 1)
        elif what == "touch":
            look = replace(look, mtime_ns=look.mtime_ns - 1)
        elif what == "replace":
            look = replace(look, inode=look.inode + 1)
        alike = [*alike, now_s] if what == "same" else [now_s]
        is_complete = len(alike) >= looks and alike[-1] - alike[0] >= quiet_s
        assert (eyes.see(look, now_s) is None) == is_complete
        assert (eyes.waiting() == ()) == is_complete
