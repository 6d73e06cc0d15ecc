"""A wish to stop is never lost."""

from __future__ import annotations

import signal

import pytest

from workers.interruption import Heedful, Interruption


class Ear:
    def __init__(self):
        self.heard = []

    def stage(self, stage, total_s):
        self.heard.append((stage, total_s))

    def progress(self, done_s):
        self.heard.append(done_s)

    def note(self, text):
        self.heard.append(text)


@pytest.mark.parametrize(
    "tell",
    [lambda ear: ear.stage("speech", 1.0), lambda ear: ear.progress(1), lambda ear: ear.note("")],
)
def test_a_lost_interrupt_is_raised_again_at_the_next_report(tell):
    ear, interruption = Ear(), Interruption()
    tell(Heedful(ear, interruption))
    with pytest.raises(KeyboardInterrupt):
        interruption.arrive(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        tell(Heedful(ear, interruption))
    assert len(ear.heard) == 1
