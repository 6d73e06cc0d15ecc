"""When what failed is tried again."""

from __future__ import annotations

import pytest

from workers.watch.retrying import wait_s


@pytest.mark.parametrize("error", ["NotMedia", "NoAudio", "BadOption", "TranscribeError", "", None])
def test_what_cannot_change_is_not_tried_again(error):
    assert wait_s(error, 1) is None


@pytest.mark.parametrize("error", ["StorageFailed", "OutOfMemory", "ModelUnavailable"])
def test_what_is_the_machines_fault_is_tried_ever_more_rarely_and_for_ever(error):
    waits = [wait_s(error, tries) for tries in range(1, 100)]
    assert waits[:3] == [60, 120, 240]
    assert waits == sorted(waits)
    assert waits[-1] == 3600


def test_what_passes_by_itself_is_tried_soon():
    assert [wait_s("Busy", tries) for tries in (1, 2, 9)] == [30, 30, 30]
    assert wait_s("SourceChanged", 1) == 0


def test_a_file_that_breaks_its_tool_is_tried_a_few_times():
    assert [wait_s("ToolFailed", tries) for tries in (1, 2, 3)] == [60, 120, None]
