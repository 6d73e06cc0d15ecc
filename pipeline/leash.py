"""Children that do not outlive their parent, even where it is killed by SIGKILL.

Goes in: nothing. Comes out: what starting a child takes for it. Does not know: which child.

Linux can be asked for it (prctl's PR_SET_PDEATHSIG); elsewhere nothing is done.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIAL_S = 5.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Leash:
    """What to put before the child's own words, or to call between fork and exec.

    The signal goes out when the *thread* that forked ends: that thread has to wait for the child.
    """

    before: tuple[str, ...] = ()
    between: Callable[[], object] | None = None


@cache
def by_setpriv() -> Leash:
    """By util-linux's setpriv, for what is known to run; where that is missing, `by_ourselves`.

    With nothing to do in between, Python lends our memory to the child (vfork). A true fork of a
    process that holds a model copies its page tables, 15 ms for 1.5 GB, and then the model's
    threads fault on every page that they write. But setpriv has the shell run what is no program.
    """
    setpriv = shutil.which("setpriv")
    if sys.platform != "linux" or setpriv is None:
        return by_ourselves()
    words = (setpriv, "--pdeathsig", "KILL", "--")
    try:  # other setprivs, as busybox's, do not know the option
        trial = [*words, setpriv, "--version"]
        nothing = subprocess.DEVNULL
        subprocess.run(
            trial, check=True, stdin=nothing, stdout=nothing, stderr=nothing, timeout=_TRIAL_S
        )
    except (OSError, subprocess.SubprocessError):
        return by_ourselves()
    return Leash(before=words)


@cache
def by_ourselves() -> Leash:
    """By a system call after the fork; Python tells whatever fails at exec."""
    if sys.platform != "linux":
        return Leash()
    import ctypes

    # PyDLL keeps hold of the interpreter lock, and prctl is resolved before the fork: the child
    # takes no lock that another thread might have held
    with suppress(OSError, AttributeError):
        prctl = ctypes.PyDLL(None).prctl
        return Leash(between=partial(prctl, _PR_SET_PDEATHSIG, int(signal.SIGKILL)))
    return Leash()
