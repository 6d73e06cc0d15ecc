"""The flags of `run`, and the values that they make.

Goes in: click's flags. Comes out: frozen options. Does not know: what the options do.
The flags of openai-whisper's own command work here too (`--output_dir`, `--beam_size`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from click import Choice, Context, FloatRange, IntRange, Parameter, ParamType, option
from click import Path as PathType

from models.fetch import FetchOptions
from models.pool import PoolOptions
from models.registry import language_code
from models.weights import canonical
from pipeline.errors import BadOption
from pipeline.naming import FIELDS, check_template
from pipeline.types import (
    Format,
    LayoutOptions,
    OutputOptions,
    Quantisation,
    SpeechOptions,
    Task,
    Wish,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.settings import Settings

    Command = Callable[..., Any]

SPEECH, OUTPUT, LAYOUT = SpeechOptions(), OutputOptions(), LayoutOptions()  # the defaults
MACHINE = PoolOptions(weights_dir=Path())
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """How much is said, and in which form."""

    quiet: bool
    verbose: bool
    as_json: bool


def _all(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for add in reversed(options):
            command = add(command)
        return command

    return decorate


def whisper_spelling(token: str) -> str:
    """`--output_dir` is `--output-dir`: fingers know openai-whisper's own command."""
    return token.replace("_", "-")


class GivenPath(PathType):
    """A path; an empty one, mostly an empty shell variable, does not mean the current folder."""

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> Path:
        """Give the path."""
        if not value:
            self.fail("an empty name", param, ctx)
        return Path(value)


class NumberOrNone(ParamType[float | None]):
    """A finite number, or None as openai-whisper's command writes it: never."""

    name = "number"

    def convert(self, value: Any, param: Parameter | None, ctx: Context | None) -> float | None:
        """Give the number; None stays None."""
        if str(value).lower() == "none":
            return None
        with suppress(ValueError):
            if isfinite(number := float(value)):
                return number
        return self.fail(f"{value!r} is neither a number nor None", param, ctx)


speech_options = _all(
    option("--model", "-m", metavar="NAME",
           help="Whisper's size, demo, or the path of a .pt or whisper.cpp .bin file; else what "
                "fits this machine."),
    option("--wish", type=Choice(get_args(Wish)), default=SPEECH.wish, show_default=True,
           help="What the choice of a model goes by."),
    option("--language", "-l", metavar="CODE", help="What is spoken, such as en; else detected."),
    option("--task", type=Choice(get_args(Task)), default=SPEECH.task, show_default=True,
           help="Write what is said, or translate it into English."),
    option("--initial-prompt", metavar="TEXT", help="Names and jargon that will be heard."),
    option("--audio-stream", type=IntRange(0), metavar="N",
           help="The audio track, from 0; else by language, else the default one."),
    option("--quantisation", "--quantization", type=Choice(get_args(Quantisation)),
           default=SPEECH.quantisation, show_default=True, help="Precision of the weights."),
    option("--word-timestamps", type=bool, default=SPEECH.word_times, show_default=True,
           help="Time every word; cues are cut better with it."),
    option("--beam-size", type=IntRange(1), default=SPEECH.beam_size, show_default=True,
           help="Beams at temperature 0."),
    option("--best-of", type=IntRange(1), default=SPEECH.best_of, show_default=True,
           help="Samples at temperatures above 0."),
    option("--temperature", type=FloatRange(0, 1), default=0.0, show_default=True,
           help="The first temperature to try."),
    option("--temperature-increment-on-fallback", type=NumberOrNone(), default=0.2,
           show_default=True, help="Added after a bad result, up to 1; None: no second try."),
    option("--compression-ratio-threshold", type=NumberOrNone(), show_default=True,
           default=SPEECH.compression_ratio_limit, help="A result above it is too repetitive."),
    option("--logprob-threshold", type=NumberOrNone(), default=SPEECH.log_probability_limit,
           show_default=True, help="A result below it is too unsure."),
    option("--no-speech-threshold", type=NumberOrNone(), default=SPEECH.no_speech_limit,
           show_default=True, help="An unsure result above it is silence."),
    option("--fp16", type=bool, hidden=True),  # False: float32, as in openai-whisper's command
    option("--condition-on-previous-text", type=bool, hidden=True),
)  # fmt: skip

output_options = _all(
    option("--format", "-f", "--output-format", "formats", multiple=True, default=OUTPUT.formats,
           type=Choice([*FORMATS, "all"]), show_default=True, help="May be given several times."),
    option("--output-dir", "-o", type=GivenPath(), metavar="DIR",
           help="Instead of beside the media."),
    option("--name", default=OUTPUT.name, show_default=True, metavar="TEMPLATE",
           help=f"Fields: {', '.join(FIELDS)}."),
    option("--overwrite", is_flag=True, help="Do finished files again; replace what is there."),
    option("--max-line-width", type=IntRange(8), default=LAYOUT.max_line_chars,
           show_default=True, help="Characters in a line."),
    option("--max-line-count", type=IntRange(1, 4), default=LAYOUT.max_lines, show_default=True,
           help="Lines in a cue."),
)  # fmt: skip

model_dir_option = option(
    "--model-dir", type=GivenPath(), metavar="DIR", help="Where weights are kept."
)
machine_options = _all(
    option("--device", default=MACHINE.device, show_default=True, metavar="NAME",
           help="cpu, cuda, cuda:1, mps."),
    option("--batch-size", type=IntRange(1),
           help="Windows that are decoded together; else what fits."),
    option("--threads", type=IntRange(1), help="Of the CPU; else torch decides."),
    model_dir_option,
)  # fmt: skip

display_options = _all(
    option("--quiet", "-q", is_flag=True, help="Say nothing but failures."),
    option("--verbose", "-v", is_flag=True, help="Say more, tracebacks too."),
    option("--json", "as_json", is_flag=True, help="One JSON object a file on stdout."),
)


def speech_of(flags: dict[str, Any], settings: Settings) -> SpeechOptions:
    """What is to be heard. Raises BadOption."""
    language: str | None = flags["language"]
    return SpeechOptions(
        model=canonical(flags["model"] or settings.model or SPEECH.model),
        wish=flags["wish"],
        quantisation=_quantisation(flags),
        language=language_code(language) if language else None,
        task=flags["task"],
        initial_prompt=flags["initial_prompt"],
        audio_stream=flags["audio_stream"],
        word_times=flags["word_timestamps"],
        beam_size=flags["beam_size"],
        best_of=flags["best_of"],
        temperatures=temperatures(flags["temperature"], flags["temperature_increment_on_fallback"]),
        compression_ratio_limit=flags["compression_ratio_threshold"],
        log_probability_limit=flags["logprob_threshold"],
        no_speech_limit=flags["no_speech_threshold"],
    )


def _quantisation(flags: dict[str, Any]) -> Quantisation:
    if flags["condition_on_previous_text"]:
        raise BadOption(
            "--condition_on_previous_text True: every window is heard on its own here, so that one "
            "mistake cannot spoil the rest: leave the flag out."
        )
    wanted: Quantisation = flags["quantisation"]
    return "float32" if wanted == "auto" and flags["fp16"] is False else wanted


def temperatures(first: float, step: float | None) -> tuple[float, ...]:
    """0.0, 0.2 → 0.0, 0.2, 0.4, 0.6, 0.8, 1.0."""
    if step is None or step <= 0:
        return (first,)
    count = int((1.0 - first) / step + 1e-9) + 1
    return tuple(round(first + step * i, 6) for i in range(count))


def output_of(flags: dict[str, Any]) -> OutputOptions:
    """How it is to be written. Raises BadOption for a name template that cannot work."""
    wanted: tuple[Format, ...] = flags["formats"]
    formats = FORMATS if "all" in flags["formats"] else tuple(dict.fromkeys(wanted))
    check_template(flags["name"], formats)
    folder: Path | None = flags["output_dir"]
    if folder and os.path.isfile(folder):  # noqa: PTH113  - it never raises
        raise BadOption(f"--output-dir {folder}: this is a file: give a folder.")
    return OutputOptions(
        formats=formats,
        output_dir=folder.absolute() if folder else None,
        name=flags["name"],
        overwrite=flags["overwrite"],
        layout=LayoutOptions(
            max_line_chars=flags["max_line_width"], max_lines=flags["max_line_count"]
        ),
    )


def machine_of(flags: dict[str, Any], settings: Settings) -> PoolOptions:
    """How the machine is to be used."""
    return PoolOptions(
        weights_dir=flags["model_dir"] or settings.weights_dir,
        device=flags["device"],
        batch_size=flags["batch_size"],
        threads=flags["threads"],
        fetch=FetchOptions(settings.mirror, settings.offline),
        visible_gpus=settings.visible_gpus,
        llm=settings.llm,
        llm_key=settings.llm_key,
        llm_patience_s=settings.llm_patience_s,
    )


def display_of(flags: dict[str, Any]) -> DisplayOptions:
    """How the command speaks."""
    return DisplayOptions(flags["quiet"], flags["verbose"], flags["as_json"])
