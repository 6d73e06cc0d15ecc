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
    published_vram_gb: int  # what OpenAI says that its own program needs in float16
    relative_speed: int  # against large on an A100, English, as OpenAI says
    file_bytes: int  # of OpenAI's .pt
    sha256: str  # of OpenAI's .pt; empty: it comes with the program

    @property
    def file_name(self) -> str:
        """As openai-whisper names it."""
        return f"{self.name}.pt"

    @property
    def url(self) -> str:
        """Where OpenAI publishes it; the last folder is the hash, as whisper/__init__.py has it."""
        return f"{PUBLISHED}/{self.sha256}/{self.file_name}"


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


def _row(
    name: str, shape: tuple[int, ...], published: tuple[int, int], file_bytes: int, sha256: str
) -> WhisperSpec:
    n_mels, state, head, audio_layer, text_layer, n_vocab = shape
    dimensions = Dimensions(
        n_mels, state, head, audio_layer, n_vocab, state, head, text_layer
    )  # fmt: skip
    # openai-whisper's README: the turbo model "is not trained for translation tasks"
    can_translate = n_vocab > ENGLISH_ONLY_VOCAB and not name.endswith("turbo")
    languages = languages_of(n_vocab)
    parameters = _parameters(dimensions)
    return WhisperSpec(
        name, dimensions, parameters, languages, can_translate, *published, file_bytes, sha256
    )


def _parameters(dimensions: Dimensions) -> int:
    """All numbers of the checkpoint: weights, biases, norms, positions (whisper/model.py)."""
    d, n = dimensions.n_audio_state, dimensions
    attention = 4 * d * d + 3 * d  # the keys have no bias
    mlp = 8 * d * d + 5 * d
    norm = 2 * d
    convolutions = 3 * n.n_mels * d + d + 3 * d * d + d
    encoder_block = attention + mlp + 2 * norm
    decoder_block = 2 * attention + mlp + 3 * norm
    encoder = convolutions + n.n_audio_ctx * d + n.n_audio_layer * encoder_block + norm
    decoder = (n.n_vocab + n.n_text_ctx) * d + n.n_text_layer * decoder_block + norm
    return encoder + decoder


PUBLISHED = "https://openaipublic.azureedge.net/main/whisper/models"
ENGLISH, MULTILINGUAL, WITH_CANTONESE = ENGLISH_ONLY_VOCAB, 51_865, 51_866

# Sources: the shape (mels, width, heads, audio layers, text layers, vocabulary) from the headers of
# the published checkpoints; memory in GB and relative speed from openai-whisper's README; SHA-256
# from whisper/__init__.py, 20250625; bytes as several public listings of the files agree.
# Order matters: smallest first; demo, which is ours, is never a default.
WHISPERS: tuple[WhisperSpec, ...] = (
    _row("demo", (80, 192, 3, 5, 2, ENGLISH), (1, 10), 8_756_855, ""),
    _row("tiny.en", (80, 384, 6, 4, 4, ENGLISH), (1, 10), 75_571_315,
         "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"),
    _row("tiny", (80, 384, 6, 4, 4, MULTILINGUAL), (1, 10), 75_572_083,
         "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9"),
    _row("base.en", (80, 512, 8, 6, 6, ENGLISH), (1, 7), 145_261_783,
         "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead"),
    _row("base", (80, 512, 8, 6, 6, MULTILINGUAL), (1, 7), 145_262_807,
         "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e"),
    _row("small.en", (80, 768, 12, 12, 12, ENGLISH), (2, 4), 483_615_683,
         "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872"),
    _row("small", (80, 768, 12, 12, 12, MULTILINGUAL), (2, 4), 483_617_219,
         "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794"),
    _row("medium.en", (80, 1024, 16, 24, 24, ENGLISH), (5, 2), 1_528_006_491,
         "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f"),
    _row("medium", (80, 1024, 16, 24, 24, MULTILINGUAL), (5, 2), 1_528_008_539,
         "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1"),
    _row("large-v3-turbo", (128, 1280, 20, 32, 4, WITH_CANTONESE), (6, 8), 1_617_941_637,
         "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a"),
    _row("large-v1", (80, 1280, 20, 32, 32, MULTILINGUAL), (10, 1), 3_086_999_982,
         "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a"),
    _row("large-v2", (80, 1280, 20, 32, 32, MULTILINGUAL), (10, 1), 3_086_999_982,
         "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524"),
    _row("large-v3", (128, 1280, 20, 32, 32, WITH_CANTONESE), (10, 1), 3_087_371_615,
         "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb"),
)  # fmt: skip
ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}  # as in openai-whisper's own table


def find(name: str) -> WhisperSpec:
    """The row of a model. Raises BadOption, naming what is near, when there is none."""
    for spec in WHISPERS:
        if spec.name == ALIASES.get(name, name):
            return spec
    names = [spec.name for spec in WHISPERS] + list(ALIASES)
    near = get_close_matches(name.lower(), names)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
    raise BadOption(
        f'There is no model "{name}"; {hint} '
        "A file of your own is given by its path, such as ./mine.pt."
    )


def matching(dimensions: Dimensions) -> WhisperSpec | None:
    """The one row with these dimensions; None when there is none, or several."""
    rows = [spec for spec in WHISPERS if spec.dimensions == dimensions]
    return rows[0] if len(rows) == 1 else None


def of_own(name: str, dimensions: Dimensions) -> WhisperSpec:
    """A row for a file of one's own; one of no published dimensions translates if multilingual."""
    languages, row = languages_of(dimensions.n_vocab), matching(dimensions)
    can_translate = len(languages) > 1 if row is None else row.can_translate
    parameters = _parameters(dimensions)
    return WhisperSpec(name, dimensions, parameters, languages, can_translate, 0, 0, 0, "")
