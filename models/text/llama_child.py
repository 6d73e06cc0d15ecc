"""The process in which llama.cpp runs: a program of its own, which imports nothing of ours.

Goes in: one line of JSON on standard input. Comes out: one line of JSON on standard output, then
llama.cpp's own HTTP server on a loopback port. Does not know: who asks it.

It ends when its standard input does, so that it never outlives whoever started it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib import import_module
from threading import Thread
from typing import Any


def main() -> None:
    """Answer the order, then stay until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    os.putenv("GGML_NO_BACKTRACE", "1")  # it would call a debugger when it gives up
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash shall not write gigabytes
    order = json.loads(sys.stdin.buffer.readline())
    watch = Thread(target=_leave_with_parent)
    watch.start()
    answer, _server = _answer(order)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    watch.join()  # the server lives as long as its name


def _leave_with_parent() -> None:
    """Nothing here is worth an orderly end: the system takes memory and port back at once."""
    sys.stdin.buffer.read()
    os._exit(0)


def _answer(order: dict[str, Any] | None) -> tuple[dict[str, object], object]:
    """What to say, and the server; without an order, only whether there is a GPU."""
    try:
        library = import_module("xllamacpp")
    except ImportError as error:
        return {"lacking": str(error)}, None
    if order is None:
        kinds = (str(device["type"]).upper() for device in library.get_device_info())
        return {"has_gpu": any("GPU" in kind for kind in kinds)}, None
    if order["most_bytes"]:  # better refused than killed, or our parent in our place
        _limit(order["most_bytes"])
    try:
        server = library.Server(_parameters(library, order))
    except RuntimeError as error:  # its reason is on standard error
        return {"failed": str(error)}, None
    return {"address": server.listening_address}, server


def _limit(most_bytes: int) -> None:
    """No more memory of its own than that, nor than it has been allowed already."""
    allowed = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [bytes_ for bytes_ in allowed if bytes_ != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most_bytes, *limits]), allowed[1]))


def _parameters(library: Any, order: dict[str, Any]) -> Any:
    """llama.cpp as small and as silent as it can be: no page, no tools, no way to change it."""
    wanted = library.CommonParams()
    wanted.model.path = order["path"]
    wanted.model_alias = {order["name"]}
    wanted.hostnames, wanted.port = ["127.0.0.1"], 0
    wanted.api_keys = [order["key"]]  # other users of this machine reach the port, too
    wanted.ui = wanted.endpoint_slots = False
    wanted.n_ctx, wanted.n_parallel, wanted.ctx_shift = order["context_tokens"], 1, False
    wanted.n_threads_http = 4
    wanted.n_batch = wanted.n_ubatch = order["batch_tokens"]  # it heeds a cut line between batches
    wanted.n_gpu_layers, wanted.main_gpu = order["gpu_layers"], order["gpu_index"]
    wanted.split_mode = library.llama_split_mode.LLAMA_SPLIT_MODE_NONE
    wanted.fit_params = False  # what fits was decided before
    wanted.cache_ram_mib, wanted.n_ctx_checkpoints = 0, 0  # no memory for earlier prompts
    wanted.warmup, wanted.verbosity = False, 1
    if order["threads"]:
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = order["threads"]
    return wanted


if __name__ == "__main__":
    main()
