"""Threads that cannot be had: an error, no thread left, and an interpreter that ends.

A thread cannot start where there is no room for its stack; here each takes a GiB, and a limit is
set. What fails may hang for ever, so decoder and encoder are tried in processes of their own.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from models.checkpoint import build
from models.engines.decoder import fastest
from models.engines.encoder import FastEncoder
from tests.models.test_decoder import int8_model
from tests.models.test_encoder import THREE_LAYERS, seeded, spectra

GIB = 1 << 30
PATIENCE_S = 100
THREADS = 4
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")


@contextlib.contextmanager
def room_for_threads(count):
    """So many can start, and no more."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    stack_bytes = threading.stack_size(GIB)
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + count * GIB + GIB // 2, before[1])
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        threading.stack_size(stack_bytes)


class Reluctant(ThreadPoolExecutor):
    """Does not take the second call."""

    calls = 0

    def submit(self, *call):
        self.calls += 1
        if self.calls == 2:
            raise MemoryError("there is no second call")
        return super().submit(*call)


@only_on_linux
@pytest.mark.parametrize("kernels", ["decoder", "encoder"])
def test_where_threads_cannot_be_had_the_kernels_say_so_and_the_interpreter_ends(kernels):
    pytest.importorskip("models.kernels.tiles", exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.test_kernel_threads", kernels],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "can't start new thread",
        "no thread is left",
        "there is no second call",
        "the same as before",
    ]


# ── in a process of its own ──────────────────────────────────────────────────────────────────


def new_decoder():
    decoder, reason = fastest(int8_model(), 1, 1, THREADS)
    decoder.hear([0], [torch.ones(1500, 128)])
    return decoder, reason, lambda: decoder.begin(0, [0], [[1, 2, 3]], (2,))


def new_encoder():
    encoder = FastEncoder(build(seeded(THREE_LAYERS), "int8", "cpu"), THREADS)
    return encoder._encode, encoder.reason, lambda: encoder(spectra(1, 128))


def tell(new):
    """Print what becomes of the kernels without threads, then without a call."""
    kernels, reason, work = new()  # whatever is compiled is there, without a limit
    assert "kernels for" in reason
    exact, before = work(), set(threading.enumerate())
    with room_for_threads(2):
        tell_error(new)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    print("no thread is left")
    kernels._pool = Reluctant(THREADS)
    tell_error(work)
    if torch.equal(work(), exact):
        print("the same as before")


def tell_error(work):
    try:
        work()
    except (RuntimeError, MemoryError) as error:
        print(re.sub(r"\n.*", "", str(error)))


if __name__ == "__main__":
    tell({"decoder": new_decoder, "encoder": new_encoder}[sys.argv[1]])
