"""Files found, and codes told."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.batch import expand, worst


def found(paths, **how):
    return [request.path.name for request in expand(paths, **how)]


@pytest.fixture
def tree(tmp_path):
    for name in ("b.mp3", "a.MKV", "notes.txt", ".hidden.mp3", "sub/c.wav", ".git/d.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_gives_its_media_in_order_and_nothing_hidden(tree):
    assert found([tree], recursive=True) == ["a.MKV", "b.mp3", "c.wav"]


def test_a_file_that_is_named_is_always_tried_and_only_once(tree):
    assert found([tree / "notes.txt", tree / "b.mp3", tree], recursive=True) == [
        *("notes.txt", "b.mp3", "a.MKV", "c.wav")
    ]


def test_without_recursive_a_folder_is_passed_on_to_be_refused(tree):
    assert found([tree], recursive=False) == [tree.name]


def test_a_name_that_no_file_can_have_is_passed_on_too():
    assert found([Path("x" * 300)], recursive=True) == ["x" * 300]


def test_a_folder_without_media_is_a_problem_of_its_own(tmp_path):
    (request,) = expand([tmp_path], recursive=True)
    assert "no media files" in str(request.problem)


@pytest.mark.parametrize(
    ("codes", "code"), [([], 0), ([0, 0], 0), ([0, 4], 4), ([4, 2], 2), ([2, 3, 4], 3), ([3, 1], 1)]
)
def test_the_exit_code_tells_the_worst(codes, code):
    assert worst(codes) == code
