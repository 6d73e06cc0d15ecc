"""whisper.cpp as a library that neither prints, nor holds off Ctrl-C, nor runs into known crashes.

Goes in: a ggml file that was found sound, then sound. Comes out: phrases of tokens, and language
probabilities. Does not know: windows, media time, when a result is good enough.

Of pywhispercpp only the plain binding is used: its `Model` downloads what it does not find, strips
texts, and keeps whisper.cpp's return codes to itself. Line numbers are of whisper.cpp 1.8.5.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, mmap
from re import search
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import finalize

from models.engines.cpp_parameters import MOST_DECODERS, defaults, parameters
from models.engines.phrases import Phrase, Token
from models.ggml import encoding_of
from pipeline.errors import BadOption, ModelUnavailable, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    import numpy as np

    from models.ggml import GgmlFile
    from pipeline.types import SpeechOptions

CENTISECONDS = 100  # in a second: whisper.cpp's times
SHORTEST_SAMPLES = 3_200  # whisper.cpp reads beyond shorter sound, or hears nothing in it
MAX_ROUNDS = 16  # how often the rest of a window is heard: a bound on work, not met by speech
STATE_LOST = -7  # whisper_full has freed what all calls work on (whisper.cpp:7142)
# Address space that whisper.cpp takes besides weights and caches, most of it never touched:
# measured with models of several widths.
OVERHEAD_BYTES = 704 * 2**20


def library_for(path: Path) -> ModuleType:
    """The binding to whisper.cpp, for a model at `path`. Raises ModelUnavailable."""
    try:
        return import_module("_pywhispercpp")
    except ImportError as error:
        raise ModelUnavailable(
            f"{path} is a model for whisper.cpp, which cannot be loaded ({error}); "
            "install it with: pip install '.[whispercpp]'"
        ) from error


def open_context(library: ModuleType, file: GgmlFile, device: str, threads: int | None) -> Context:
    """Load the model. Raises BadOption (no such device), ModelUnavailable, OutOfMemory."""
    name = _utf8(file.path)
    _require_room(file)
    wanted = library.whisper_context_default_params()
    wanted.use_gpu = device != "cpu"
    index = device.partition(":")[2]
    wanted.gpu_device = int(index) if index.isdecimal() else 0
    # Flash attention here gives weight to 36 places of padding behind the sound (whisper.cpp:2159
    # has no mask for them); that costs the demo model every word.
    wanted.flash_attn = False
    load = library.whisper_init_from_file_with_params
    with _overheard(library) as said, _room(file):
        pointer = _aside(Event(), load, name, wanted)
    # The binding does not tell a context from none; this line comes last before success.
    if not any("compute buffer (decode)" in line for line in said):
        raise _no_room(file, said)
    context = Context(library, pointer, file, device_in(said), threads)
    if device not in ("auto", "cpu") and context.device == "cpu":
        raise BadOption(f"whisper.cpp has no device {device} here; give --device auto.")
    return context


class Context:
    """A loaded model, and what it works in. For one caller at a time.

    At temperature 0 nothing is left of earlier sound; above, the random numbers go on.
    """

    def __init__(
        self, library: ModuleType, pointer: Any, file: GgmlFile, device: str, threads: int | None
    ) -> None:
        self.device = device  # "cpu", or a GPU as whisper.cpp names it
        self._library = library
        self._pointer = pointer
        self._file = file
        self._encoding = encoding_of(file.dimensions)
        self._threads = threads or defaults(library).n_threads
        self._free = finalize(self, library.whisper_free, pointer)

    def decode(
        self, samples: np.ndarray, options: SpeechOptions, temperature: float
    ) -> tuple[Phrase, ...]:
        """What is said in float32 (n,) samples, n <= 480 000; nothing if nobody seems to speak.

        Raises BadOption, OutOfMemory.
        """
        stop, rounds = Event(), iter([True] * MAX_ROUNDS)
        told = parameters(self._library, self._file.dimensions, options, temperature)
        told.n_threads = self._threads
        told.set_abort_callback(stop.is_set)
        told.set_encoder_begin_callback(lambda _context: next(rounds, False))
        sound = _padded(samples)
        with self._working() as said:
            run = self._library.whisper_full
            code = _aside(stop, run, self._pointer, told, sound, len(sound))
        if code == STATE_LOST:
            self._free.detach()
        if code != 0:
            raise _no_room(self._file, said)
        return tuple(map(self._phrase, range(self._library.whisper_full_n_segments(self._pointer))))

    def language_probabilities(
        self, samples: np.ndarray, languages: Sequence[str]
    ) -> dict[str, float]:
        """How likely each language is in float32 (n,) samples. Raises OutOfMemory."""
        import numpy as np

        library, sound = self._library, _padded(samples)
        row = np.zeros(library.whisper_lang_max_id() + 1, np.float32)
        with self._working() as said:
            library.whisper_pcm_to_mel(self._pointer, sound, len(sound), self._threads)
            best = library.whisper_lang_auto_detect(self._pointer, 0, self._threads, row)
        if best < 0:
            raise _no_room(self._file, said)
        # whisper.cpp counts one language too many for models without Cantonese
        known = {code: float(row[library.whisper_lang_id(code)]) for code in languages}
        total = sum(known.values())
        return {code: probability / total for code, probability in known.items()}

    def _phrase(self, index: int) -> Phrase:
        library, pointer = self._library, self._pointer
        count = library.whisper_full_n_tokens(pointer, index)
        rows = [library.whisper_full_get_token_data(pointer, index, i) for i in range(count)]
        return Phrase(
            library.whisper_full_get_segment_t0(pointer, index) / CENTISECONDS,
            library.whisper_full_get_segment_t1(pointer, index) / CENTISECONDS,
            tuple(Token(self._spelling(row.id), row.p, row.plog) for row in rows),
        )

    def _spelling(self, token: int) -> bytes:
        if token >= self._encoding.eot_token:
            return b""
        return self._encoding.decode_single_token_bytes(token)

    @contextmanager
    def _working(self) -> Iterator[list[str]]:
        """Around whatever works in the context; gives what whisper.cpp says meanwhile."""
        if not self._free.alive:
            raise _no_room(self._file, ["it ran out of memory before"])
        with _overheard(self._library) as said, _room(self._file):
            yield said


def _utf8(path: Path) -> str:
    """The path, if it can be told: the binding decodes what whisper.cpp says of the file."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError as error:
        raise ModelUnavailable(
            f"whisper.cpp cannot take the name {str(path)!a}, which is not UTF-8: rename it."
        ) from error


def _padded(samples: np.ndarray) -> np.ndarray:
    import numpy as np

    missing = max(0, SHORTEST_SAMPLES - len(samples))
    return np.pad(samples, (0, missing)).astype(np.float32, copy=False)


def _aside(stop: Event, work: Callable[..., Any], *arguments: Any) -> Any:
    """Do the work in a thread, and set `stop` when this one is interrupted.

    In the main thread whisper.cpp would hold off Ctrl-C, or have Python raise it in a callback,
    where it cannot pass through C. whisper.cpp looks at `stop` after each encoding and each token.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        try:
            return thread.submit(work, *arguments).result()
        finally:
            stop.set()


@contextmanager
def _overheard(library: ModuleType) -> Iterator[list[str]]:
    """Collect what whisper.cpp would print.

    The callback must go again: pywhispercpp would drop it after Python's end, and crash there.
    """
    said: list[str] = []
    library.whisper_log_set(lambda _level, text: said.append(text))
    try:
        yield said
    finally:
        library.whisper_log_set(None)


def device_in(said: Sequence[str]) -> str:
    """The GPU that whisper.cpp said it uses, in small letters; else "cpu"."""
    found = search(r"whisper_backend_init_gpu: using (\S+) backend", "".join(said))
    return found[1].lower() if found else "cpu"


def _require_room(file: GgmlFile) -> None:
    """Ask for the memory first, without touching it: whisper.cpp aborts where it gets none."""
    d = file.dimensions
    positions = 2048 + 512 * MOST_DECODERS  # of sound and of text, for every candidate
    caches_bytes = 4 * d.n_text_layer * d.n_text_state * positions
    scores_bytes = 4 * d.n_audio_head * d.n_audio_ctx**2
    size_bytes = file.size_bytes + caches_bytes + scores_bytes + OVERHEAD_BYTES
    try:
        mmap(-1, size_bytes, flags=MAP_PRIVATE | MAP_ANONYMOUS, prot=PROT_READ).close()
    except OSError as error:
        raise _no_room(file, [str(error.strerror)]) from error


@contextmanager
def _room(file: GgmlFile) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise _no_room(file, [str(error)]) from error


def _no_room(file: GgmlFile, said: Sequence[str]) -> OutOfMemory:
    last = said[-1].strip() if said else "no reason given"
    return OutOfMemory(
        f"{file.path.name} does not fit into memory (whisper.cpp: {last}); take a smaller model, "
        "or close other programs."
    )
