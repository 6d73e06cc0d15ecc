"""What is known of each Whisper.

Goes in: a model's name, or a checkpoint's dimensions. Comes out: a row of the table.
Does not know: files, memory, devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from pipeline.errors import BadOption

# Source: LANGUAGES in whisper/tokenizer.py, openai-whisper 20250625. Order matters: a model knows
# the first n. All but large-v3 and its turbo end before "yue".
_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no "
    "th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw "
    "gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl "
    "mg as tt haw ln ha ba jw su yue"
)
LANGUAGES = tuple(_CODES.split())
ENGLISH_ONLY_VOCAB = 51_864  # tokens; the multilingual tokenizer begins at one more


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The ten numbers in an OpenAI checkpoint, named as in `whisper.model.ModelDimensions`."""

    n_mels: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int
    n_audio_ctx: int = 1500  # frames of 20 ms in 30 s
    n_text_ctx: int = 448


@dataclass(frozen=True, slots=True)
class WhisperSpec:
    """One published model."""

    name: str
    dimensions: Dimensions
    parameters: int  # every number in the checkpoint, the encoder's fixed positions included
    languages: tuple[str, ...]  # codes that it hears
    can_translate: bool


def languages_of(n_vocab: int) -> tuple[str, ...]:
    """The languages of a model, from the size of its vocabulary, as whisper counts them."""
    if n_vocab <= ENGLISH_ONLY_VOCAB:
        return ("en",)
    # whisper/model.py, num_languages: what is left when all other tokens are taken away
    return LANGUAGES[: n_vocab - 51_766]


def language_code(name: str) -> str:
    """The code of a language, given as such or by its English name. Raises BadOption."""
    wanted = name.strip().lower()
    if wanted in LANGUAGES:
        return wanted
    from whisper.tokenizer import TO_LANGUAGE_CODE

    if wanted not in TO_LANGUAGE_CODE:
        near = get_close_matches(wanted, TO_LANGUAGE_CODE) or ["en", "english", "de", "german"]
        raise BadOption(
            f'There is no language "{name}"; give a code or a name: {", ".join(near)} …'
        )
    code: str = TO_LANGUAGE_CODE[wanted]
    return code


def _row(name: str, shape: tuple[int, ...], n_vocab: int, parameters: int) -> WhisperSpec:
    n_mels, state, head, audio_layer, text_layer = shape
    dimensions = Dimensions(
        n_mels, state, head, audio_layer, n_vocab, state, head, text_layer
    )  # fmt: skip
    # openai-whisper's README: the turbo model "is not trained for translation tasks"
    can_translate = n_vocab > ENGLISH_ONLY_VOCAB and not name.endswith("turbo")
    return WhisperSpec(name, dimensions, parameters, languages_of(n_vocab), can_translate)


# Sources: dimensions from the headers of the published checkpoints; parameters are counted from
# them (OpenAI rounds: 39 M, 74 M, 244 M, 769 M, 1550 M, 809 M). The shape is mels, state, heads,
# audio layers, text layers. Order matters: smallest first; demo, which is ours, is never a default.
WHISPERS: tuple[WhisperSpec, ...] = (
    _row("demo", (80, 192, 3, 5, 2), 51_864, 13_899_264),
    _row("tiny.en", (80, 384, 6, 4, 4), 51_864, 37_760_256),
    _row("tiny", (80, 384, 6, 4, 4), 51_865, 37_760_640),
    _row("base.en", (80, 512, 8, 6, 6), 51_864, 72_593_408),
    _row("base", (80, 512, 8, 6, 6), 51_865, 72_593_920),
    _row("small.en", (80, 768, 12, 12, 12), 51_864, 241_734_144),
    _row("small", (80, 768, 12, 12, 12), 51_865, 241_734_912),
    _row("medium.en", (80, 1024, 16, 24, 24), 51_864, 763_856_896),
    _row("medium", (80, 1024, 16, 24, 24), 51_865, 763_857_920),
    _row("large-v3-turbo", (128, 1280, 20, 32, 4), 51_866, 808_878_080),
    _row("large-v1", (80, 1280, 20, 32, 32), 51_865, 1_543_304_960),
    _row("large-v2", (80, 1280, 20, 32, 32), 51_865, 1_543_304_960),
    _row("large-v3", (128, 1280, 20, 32, 32), 51_866, 1_543_490_560),
)
ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}  # as in openai-whisper's own table


def find(name: str) -> WhisperSpec:
    """The row of a model. Raises BadOption, naming what is near, when there is none."""
    for spec in WHISPERS:
        if spec.name == ALIASES.get(name, name):
            return spec
    names = [spec.name for spec in WHISPERS] + list(ALIASES)
    near = get_close_matches(name.lower(), names) or names
    raise BadOption(
        f'There is no model "{name}"; did you mean {" or ".join(near)}? '
        "A file of your own is given by its path, such as ./mine.pt."
    )


def matching(dimensions: Dimensions) -> WhisperSpec | None:
    """The one row with these dimensions; None when there is none, or several."""
    rows = [spec for spec in WHISPERS if spec.dimensions == dimensions]
    return rows[0] if len(rows) == 1 else None
