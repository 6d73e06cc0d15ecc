from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest

from models import nvml
from models.nvml import Card, NvmlError, cards_of, visible

GIB = 2**30
A, B, C = (
    Card(f"NVIDIA {name}", f"GPU-{name}{name}-0000", 8 * GIB, 6 * GIB, (8, 6)) for name in "abc"
)
CARDS = (A, B, C)
PART_1 = Card("NVIDIA a MIG 1g", "MIG-1111", 5 * GIB, 4 * GIB, (8, 0))
PART_2 = Card("NVIDIA a MIG 2g", "MIG-2222", 10 * GIB, 9 * GIB, (8, 0))
CUT = replace(A, total_bytes=0, free_bytes=0, parts=(PART_1, PART_2))
UNCUT = replace(A, parts=())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, [A, B, C]),
        ("0,1,2", [A, B, C]),
        ("0,1", [A, B]),
        ("2,0", [C, A]),
        (" 1 , 0 ", [B, A]),
        ("+1", [B]),
        ("1gpu,2ampere", [B, C]),  # CUDA reads as much of a number as is one
        ("", []),
        ("-1", []),
        ("0,-1,1", [A]),
        ("0,,1", [A]),
        ("0,7,1", [A]),
        ("99999999999999999999", []),
        ("none", []),
        ("0,0", []),
        ("0,GPU-aa", []),
        ("GPU-bb-0000", [B]),
        ("GPU-b", [B]),
        ("GPU-c,GPU-a", [C, A]),
        ("GPU-", []),  # it could be any of three
        ("GPU-d,GPU-a", []),
        ("MIG-1111", []),
        ("²", []),
        ("\0", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(text, shown):
    assert list(visible(CARDS, text)[0]) == shown


def test_a_person_is_told_what_is_hidden():
    assert visible(CARDS, None)[1] == ()
    assert visible(CARDS, "2,1,0")[1] == ()
    assert visible(CARDS, "1")[1] == (
        "CUDA_VISIBLE_DEVICES=1 hides GPU 0 (NVIDIA a), GPU 2 (NVIDIA c).",
    )


def test_a_person_is_told_what_is_wrong_with_the_list():
    assert '"7" is no GPU; CUDA stops there' in visible(CARDS, "0,7,1")[1][0]
    assert "names a GPU twice" in visible(CARDS, "0,1,0")[1][0]
    assert len(visible(CARDS, "0,1,2,-1")[1]) == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, PART_1),
        ("0", PART_1),
        ("GPU-aa", PART_1),
        ("MIG-1111", PART_1),
        ("MIG-2222", PART_2),
        ("MIG-2222,MIG-1111", PART_2),
        ("1,0", PART_1),
        ("1", B),
    ],
)
def test_of_mig_devices_cuda_shows_one_and_never_their_parent(text, shown):
    assert visible((CUT, B), text)[0] == (shown,)


def test_a_person_is_told_of_mig():
    notes = visible((CUT, B), None)[1]
    assert "here NVIDIA a MIG 1g" in notes[0]
    assert "CUDA_VISIBLE_DEVICES=MIG-… picks another" in notes[0]
    assert "hides" not in visible((CUT,), "MIG-2222")[1][0]


def test_a_gpu_with_mig_on_and_not_cut_offers_nothing():
    shown, notes = visible((UNCUT, B), None)
    assert shown == (B,)
    assert notes == ("NVIDIA a has MIG on and no MIG device, so it offers no memory.",)


def test_every_function_that_is_called_is_there():
    import pynvml

    names = re.findall(r'"(nvml\w+)"', inspect.getsource(nvml))
    assert len(names) == 11
    assert all(callable(getattr(pynvml, name)) for name in names)


def test_the_real_library_answers_or_says_why_not():
    try:
        cards = cards_of()
    except NvmlError as error:
        assert str(error)  # noqa: PT017  - either is right, by the machine
    else:
        assert all(0 <= card.free_bytes <= card.total_bytes for card in cards)
