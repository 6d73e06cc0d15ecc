"""Flags become frozen options."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.errors import BadOption
from pipeline.types import OutputOptions, SpeechOptions
from workers.options import (
    output_of,
    output_options,
    speech_of,
    speech_options,
    temperatures,
    whisper_spelling,
)
from workers.settings import load


def options_of(*arguments):
    made = []

    @click.command(context_settings={"token_normalize_func": whisper_spelling})
    @speech_options
    @output_options
    def command(**flags):
        made.append((speech_of(flags, load({})), output_of(flags)))

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return made[0]


def test_without_flags_the_defaults_of_the_types_hold():
    assert options_of() == (SpeechOptions(), OutputOptions())


def test_flags_under_their_own_names():
    speech, output = options_of(
        *(
            "-m",
            "base",
            "-l",
            "de",
            "--task",
            "translate",
            "--initial-prompt",
            "Zürich",
            "-f",
            "vtt",
        ),
        *(
            "-f",
            "json",
            "-o",
            "out",
            "--overwrite",
            "--max-line-width",
            "32",
            "--audio-stream",
            "1",
        ),
    )
    assert speech == SpeechOptions(
        model="base", language="de", task="translate", initial_prompt="Zürich", audio_stream=1
    )
    assert (output.formats, output.output_dir) == (("vtt", "json"), Path("out").absolute())
    assert output.overwrite
    assert output.layout.max_line_chars == 32


def test_flags_as_fingers_know_them_from_openai_whisper():
    speech, output = options_of(
        *("--model", "base", "--language", "de", "--output_dir", "out", "--output_format", "all"),
        *("--initial_prompt", "Zürich", "--word_timestamps", "False", "--beam_size", "5"),
        *("--best_of", "3", "--temperature", "0.4", "--temperature_increment_on_fallback", "0.3"),
        *("--compression_ratio_threshold", "2", "--logprob_threshold", "-2", "--fp16", "False"),
        *("--no_speech_threshold", "0.5", "--condition_on_previous_text", "False"),
        *("--max_line_width", "40", "--max_line_count", "1"),
    )
    assert speech == SpeechOptions(
        model="base",
        language="de",
        initial_prompt="Zürich",
        word_times=False,
        beam_size=5,
        best_of=3,
        temperatures=(0.4, 0.7, 1.0),
        compression_ratio_limit=2,
        log_probability_limit=-2,
        no_speech_limit=0.5,
        quantisation="float32",
    )
    assert output.formats == ("srt", "vtt", "txt", "json")
    assert (output.layout.max_line_chars, output.layout.max_lines) == (40, 1)


def test_what_cannot_be_done_is_said_before_any_work():
    with pytest.raises(BadOption, match="heard on its own"):
        options_of("--condition_on_previous_text", "True")
    with pytest.raises(BadOption, match="fields are"):
        options_of("--name", "{title}")
    with pytest.raises(BadOption, match="is a file"):
        options_of("--output-dir", __file__)


def test_limits_are_finite_numbers_or_none():
    speech, _ = options_of("--logprob_threshold", "None", "--no_speech_threshold", "none")
    assert (speech.log_probability_limit, speech.no_speech_limit) == (None, None)
    speech, _ = options_of("--temperature_increment_on_fallback", "None")
    assert speech.temperatures == (0.0,)
    with pytest.raises(click.BadParameter, match="neither a number nor None"):
        options_of("--logprob-threshold", "nan")


def test_a_language_goes_by_its_code_or_its_name():
    assert options_of("-l", "DE")[0].language == options_of("-l", "German")[0].language == "de"
    with pytest.raises(BadOption, match="no language"):
        options_of("-l", "Klingon")


def test_temperatures_climb_to_one():
    assert temperatures(0.0, 0.2) == SpeechOptions().temperatures
    assert temperatures(0.5, 0.0) == (0.5,)
    assert temperatures(0.0, 0.4) == (0.0, 0.4, 0.8)
