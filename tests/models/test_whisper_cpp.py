"""WhisperCpp with real files: the demo model's in several formats, and nonsense in many languages.

What whisper.cpp prints, and how a process with it ends, can only be seen in a process of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.model import ModelDimensions, Whisper

from models import demo
from models.engines.cpp_context import device_in
from models.engines.decode import quiet
from models.engines.whisper_cpp import load
from models.ggml import encoding_of
from models.registry import Dimensions
from pipeline.errors import BadCheckpoint, BadOption, ModelUnavailable
from pipeline.types import SAMPLE_RATE_HZ, Clip, Span, SpeechOptions, Window
from tests.models import ggml

ROOT = Path(__file__).parents[2]
CHOSEN = (0, 2, 4)  # of the recordings
SPEECH = SpeechOptions(language="en", temperatures=(0.0,))
NONSENSE = ModelDimensions(
    n_mels=128,
    n_audio_ctx=1500,
    n_audio_state=64,
    n_audio_head=1,
    n_audio_layer=1,
    n_vocab=51866,
    n_text_ctx=448,
    n_text_state=64,
    n_text_head=1,
    n_text_layer=1,
)


class Interrupted(Exception):
    """What a signal's handler raises."""


def clip(samples, options=SPEECH, start_s=0.0):
    end_s = start_s + len(samples) / SAMPLE_RATE_HZ
    return Clip(Window(start_s, end_s, (Span(start_s, end_s),)), samples, options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The demo model in each format, with a decoder layer that does nothing."""
    folder = tmp_path_factory.mktemp("ggml")
    checkpoint = ggml.with_idle_layer(demo.load_checkpoint())
    return {
        ftype: ggml.write(folder / f"ggml-demo-{ftype}.bin", checkpoint, ftype)
        for ftype in ("f16", "q8_0", "q5_1")
    }


@pytest.fixture(scope="module")
def spoken(files):
    return load(files["f16"], threads=1)


@pytest.fixture(scope="module")
def babel():
    """Random weights for all languages, the same to torch as in float16."""
    model = Whisper(NONSENSE)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embedding" in name else 0.1
            parameter.copy_((torch.randn(parameter.shape, generator=generator) * scale).half())
    return model


@pytest.fixture(scope="module")
def babel_file(babel, tmp_path_factory):
    checkpoint = {"dims": vars(NONSENSE), "model_state_dict": babel.state_dict()}
    return ggml.write(tmp_path_factory.mktemp("ggml") / "babel.bin", checkpoint)


@pytest.fixture(scope="module")
def many_languages(babel_file):
    return load(babel_file, threads=1)


@pytest.fixture(scope="module")
def recordings(samples_of):
    return [samples_of(recording.path) for recording in demo.clips()]


@pytest.fixture(scope="module")
def episode(samples_of):
    return samples_of(demo.EPISODE)


def texts(heard):
    return [" ".join(segment.text for segment in one.segments) for one in heard]


def child(script, *arguments, **environment):
    """The script in a process of its own; its output, for a failure its last words."""
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    # no debugger is to be started where ggml aborts
    own = {**os.environ, "GGML_NO_BACKTRACE": "1", **environment}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=own, check=False)


@pytest.fixture(scope="module")
def said(spoken, recordings):
    """What is heard in some of the recordings, each at a time of its own."""
    clips = [clip(recordings[index], start_s=100.0 * index) for index in CHOSEN]
    heard = list(spoken.transcribe(clips))
    assert [one.window for one in heard] == [one.window for one in clips]
    return heard


# ── what is heard ────────────────────────────────────────────────────────────────────────────


def test_sentences_and_their_times_are_those_of_the_recordings(said):
    for index, heard in zip(CHOSEN, said, strict=True):
        truth = demo.clips()[index].segments
        assert [segment.text for segment in heard.segments] == [true.text for true in truth]
        for segment, true in zip(heard.segments, truth, strict=True):
            assert segment.start_s - 100.0 * index == pytest.approx(true.start_s, abs=0.2)
            assert segment.end_s - 100.0 * index == pytest.approx(true.end_s, abs=0.2)


@pytest.mark.parametrize("ftype", ["q8_0", "q5_1"])
def test_quantised_files_are_understood_as_well(files, ftype, recordings):
    one_clip = clip(np.concatenate(recordings[:4]))
    heard = texts(load(files[ftype], threads=1).transcribe([one_clip]))
    truth = " ".join(true.text for one in demo.clips()[:4] for true in one.segments)
    assert jiwer.wer([truth], heard) < 0.05


def test_words_make_up_their_segment_and_lie_inside_it(said):
    for heard in said:
        edges = [heard.window.start_s]
        for segment in heard.segments:
            assert "".join(word.text for word in segment.words).strip() == segment.text
            assert all(0 < word.probability <= 1 for word in segment.words)
            edges += [segment.start_s]
            edges += [edge for word in segment.words for edge in (word.start_s, word.end_s)]
            edges += [segment.end_s]
        assert len(edges) > 20
        assert [*edges, heard.window.end_s] == sorted([*edges, heard.window.end_s])


def test_how_sure_it_was_is_told(said):
    for heard in said:
        for segment in heard.segments:
            assert -0.5 < segment.average_log_probability < 0
            assert 0.5 < segment.compression_ratio < 2.4
            assert (segment.temperature, segment.no_speech_probability) == (0.0, 0.0)


def test_a_clip_says_the_same_whatever_came_before(spoken, recordings, said):
    (again,) = spoken.transcribe([clip(recordings[CHOSEN[0]])])
    assert [s.text for s in again.segments] == [s.text for s in said[0].segments]


def test_clips_are_taken_as_they_are_needed(many_languages, recordings):
    taken = []

    def source():
        for index, sound in enumerate(recordings[:2]):
            taken.append(index)
            yield clip(sound)

    heard = many_languages.transcribe(source())
    assert taken == []
    next(heard)
    assert taken == [0]


@pytest.mark.parametrize("size", [0, 1, 150, 1600, 3000])
def test_scraps_of_sound_do_no_harm(many_languages, size):
    (heard,) = many_languages.transcribe([clip(np.full(size, 0.1, np.float32))])
    assert all(segment.end_s <= heard.window.end_s for segment in heard.segments)
    assert bool(heard.segments) == (size > 0)


def test_silence_has_no_segments(spoken):
    (heard,) = spoken.transcribe([clip(np.zeros(5 * SAMPLE_RATE_HZ, np.float32))])
    assert heard.segments == ()


def test_a_model_without_timestamps_still_gets_words_in_the_speech(tmp_path, recordings):
    # two decoder layers: whisper.cpp takes it for one of the first distilled models
    engine = load(ggml.write(tmp_path / "own.bin", demo.load_checkpoint()), threads=1)
    (heard,) = engine.transcribe([clip(recordings[0], start_s=50.0)])
    (segment,) = heard.segments
    assert "customer" in segment.text
    assert 50.0 <= segment.start_s < segment.end_s <= heard.window.end_s
    assert len(segment.words) > 10


# ── what was asked ───────────────────────────────────────────────────────────────────────────


def test_options_reach_the_decoding(many_languages, recordings):
    options = [
        SPEECH,
        replace(SPEECH, beam_size=5),
        replace(SPEECH, language="de"),
        replace(SPEECH, language="de", task="translate"),
        replace(SPEECH, initial_prompt="Anna, Oliver <|endoftext|> " * 200),
        replace(SPEECH, temperatures=(1.0,), best_of=3),
        replace(SPEECH, word_times=False),
    ]
    heard = list(many_languages.transcribe(clip(recordings[0], one) for one in options))
    signs = [[(s.text, s.average_log_probability) for s in one.segments] for one in heard]
    assert all(signs)
    assert len({str(sign) for sign in signs}) == len(options) - 1
    assert [bool(one.segments[0].words) for one in heard] == [
        True,
        True,
        True,
        False,
        *[True] * 2,
        False,
    ]
    assert heard[5].segments[0].temperature == 1.0


@pytest.fixture
def inclined(babel, tmp_path):
    """An engine that leans to one token, whatever it hears."""

    def make(token, strength):
        state = dict(babel.state_dict())
        state["decoder.ln.weight"] = torch.zeros(NONSENSE.n_text_state)
        state["decoder.ln.bias"] = strength * state["decoder.token_embedding.weight"][token]
        checkpoint = {"dims": vars(NONSENSE), "model_state_dict": state}
        return load(ggml.write(tmp_path / "own.bin", checkpoint), threads=1)

    return make


def test_signs_that_nobody_says_are_kept_out(inclined, recordings):
    (bracket,) = encoding_of(Dimensions(**vars(NONSENSE))).encode("[")
    (heard,) = inclined(bracket, 10.0).transcribe([clip(recordings[0])])
    assert heard.segments
    assert not any("[" in segment.text for segment in heard.segments)


def test_silence_is_not_guessed_from_what_another_clip_left(inclined, recordings):
    engine = inclined(50_363, 1.0)  # <|nospeech|>
    # whisper.cpp on its own drops the second
    heard = engine.transcribe(
        [clip(recordings[0], replace(SPEECH, log_probability_limit=99.0))] * 2
    )
    assert [bool(one.segments) for one in heard] == [True, True]


def test_only_clips_that_fail_go_on_to_the_next_temperature(spoken, recordings):
    options = replace(SPEECH, temperatures=(0.0, 0.2), best_of=2)
    never_good = replace(options, compression_ratio_limit=-1.0)
    clips = [clip(recordings[0], options), clip(recordings[1], never_good)]
    first, second = spoken.transcribe(clips)
    assert {segment.temperature for segment in first.segments} == {0.0}
    assert {segment.temperature for segment in second.segments} == {0.2}


def test_limits_say_when_nothing_was_said(spoken, recordings):
    both = replace(SPEECH, no_speech_limit=-1.0, log_probability_limit=99.0)
    first = replace(SPEECH, no_speech_limit=-1.0, log_probability_limit=None)
    never = replace(SPEECH, no_speech_limit=None, log_probability_limit=99.0)
    clips = (clip(recordings[0], options) for options in (both, first, never))
    heard = spoken.transcribe(clips)
    assert [bool(one.segments) for one in heard] == [False, False, True]


@pytest.mark.parametrize(
    "options", [{"beam_size": 9}, {"best_of": 9, "temperatures": (0.5,)}], ids=["beams", "samples"]
)
def test_more_candidates_than_whisper_cpp_can_follow_are_refused(spoken, recordings, options):
    with pytest.raises(BadOption, match="at most 8"):
        list(spoken.transcribe([clip(recordings[0], replace(SPEECH, **options))]))


# ── language ─────────────────────────────────────────────────────────────────────────────────


def test_an_english_model_hears_english(spoken, recordings):
    guess = spoken.detect_language([clip(recordings[0])])
    assert (guess.language, guess.probability) == ("en", None)


def test_the_language_is_the_likeliest_on_average_as_torch_has_it(many_languages, babel, episode):
    sounds = [episode[first : first + 80_000] for first in (0, 400_000, 900_000)]
    guess = many_languages.detect_language(map(clip, sounds))
    mels = [log_mel_spectrogram(pad_or_trim(sound.copy()), 128) for sound in sounds]
    with quiet():
        rows = [babel.detect_language(mel)[1] for mel in mels]
    means = {code: sum(row[code] for row in rows) / 3 for code in rows[0]}
    assert guess.language == max(means, key=means.get)
    assert guess.probability == pytest.approx(max(means.values()), rel=0.02)


# ── the engine ───────────────────────────────────────────────────────────────────────────────


def test_the_description_tells_what_it_is(files, many_languages):
    nearest = {"f16": "float16", "q8_0": "int8", "q5_1": "int4"}
    for ftype, path in files.items():
        found = load(path, threads=1).description
        assert (found.model, found.quantisation) == (f"ggml-demo-{ftype}.bin", nearest[ftype])
        assert (found.device, found.languages, found.can_translate) == ("cpu", ("en",), False)
        assert ftype in found.reason
    assert len(many_languages.description.languages) == 100
    assert many_languages.description.can_translate


def test_a_gpu_that_is_not_there_is_refused(files):
    with pytest.raises(BadOption, match="no device cuda:7"):
        load(files["q5_1"], "cuda:7")


def test_the_device_is_read_from_what_whisper_cpp_says():
    gpu = "whisper_backend_init_gpu: using Vulkan0 backend\n"
    assert device_in(["whisper_init_state: kv pad\n", gpu]) == "vulkan0"
    assert device_in(["whisper_backend_init: using BLAS backend\n"]) == "cpu"


def test_a_broken_file_is_refused(tmp_path):
    path = tmp_path / "own.bin"
    path.write_bytes(b"lmgg")
    with pytest.raises(BadCheckpoint, match="own.bin"):
        load(path)


def test_a_name_in_any_script_will_do_if_it_is_utf_8(files, tmp_path):
    path = tmp_path / "模型 Köln.bin"
    path.symlink_to(files["q5_1"])
    assert load(path, threads=1).description.model == path.name
    path = tmp_path / os.fsdecode(b"k\xf6ln.bin")
    path.symlink_to(files["q5_1"])
    with pytest.raises(ModelUnavailable, match="rename it"):
        load(path)


LOADED_OFTEN = """
import gc, resource, sys
from pathlib import Path
from models.engines.whisper_cpp import load
sizes_kb = []
for _ in range(6):
    load(Path(sys.argv[1]), threads=1)
    gc.collect()
    with open("/proc/self/statm") as pages:
        sizes_kb.append(int(pages.read().split()[1]) * resource.getpagesize() // 1024)
print(*sizes_kb)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_is_given_back(files):
    command = [sys.executable, "-c", LOADED_OFTEN, files["f16"]]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=100)
    sizes_kb = [int(word) for word in ended.stdout.split()]
    # the allocator keeps some for later, once
    assert sizes_kb[-1] < sizes_kb[2] + files["f16"].stat().st_size // 1024


def started(timer, clips):
    timer.start()
    yield from clips


def test_an_interruption_stops_it_in_the_midst_of_a_clip(spoken, episode):
    clips = [clip(episode[: 15 * SAMPLE_RATE_HZ], replace(SPEECH, beam_size=8))]
    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    whole = texts(spoken.transcribe(clips))  # a quarter of it encoding, which cannot be stopped
    whole_s, whole_cpu_s = time.monotonic() - begun_s, time.process_time() - begun_cpu_s

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(whole_s / 4, os.kill, (os.getpid(), signal.SIGUSR1))
    begun_cpu_s = time.process_time()
    try:
        with pytest.raises(Interrupted):
            list(spoken.transcribe(started(timer, clips)))
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert time.process_time() - begun_cpu_s < whole_cpu_s * 2 / 3
    assert texts(spoken.transcribe(clips)) == whole


# ── the process ──────────────────────────────────────────────────────────────────────────────

TRANSCRIBE = """
import sys
from pathlib import Path
import numpy as np
from models.engines.whisper_cpp import load
from pipeline.types import Clip, Span, SpeechOptions, Window
engine = load(Path(sys.argv[1]), threads=1)
window = Window(0.0, 3.0, (Span(0.0, 3.0),))
for loudness in (0.0, 0.1):
    sound = np.random.default_rng(0).normal(0, loudness, 48_000).astype(np.float32)
    engine.detect_language([Clip(window, sound, SpeechOptions())])
    options = SpeechOptions(language="en", temperatures=(0.0,))
    print(len(list(engine.transcribe([Clip(window, sound, options)]))))
"""


def test_nothing_is_printed_and_the_process_ends_well(babel_file):
    done = child(TRANSCRIBE, str(babel_file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n1\n", "")


MISSING = """
import sys
from pathlib import Path
from models.engines.whisper_cpp import load
from pipeline.errors import ModelUnavailable
sys.modules["_pywhispercpp"] = None  # as if it were not installed
try:
    load(Path(sys.argv[1]))
except ModelUnavailable as error:
    print(error)
"""


def test_a_missing_extra_is_told_in_one_sentence(tmp_path):
    done = child(MISSING, str(tmp_path / "ggml-small.bin"))
    assert done.stderr == ""
    (sentence,) = done.stdout.splitlines()
    assert "ggml-small.bin is a model for whisper.cpp" in sentence
    assert "pip install '.[whispercpp]'" in sentence


LIMITED = """
import resource, sys
from pathlib import Path
from models.engines.whisper_cpp import load
from pipeline.errors import OutOfMemory
path = Path(sys.argv[1])
load(path, threads=1)  # all is imported
taken_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
_, hard = resource.getrlimit(resource.RLIMIT_AS)
for spare_mib in (5, 20, 100, 300, 600, 2000):
    resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + spare_mib * 2**20, hard))
    try:
        load(path, threads=1)
        print("loaded")
    except OutOfMemory as error:
        print(error)
"""


def test_a_lack_of_memory_is_told_and_the_process_lives(babel_file):
    done = child(LIMITED, str(babel_file))
    assert (done.returncode, done.stderr) == (0, "")
    *refused, last = done.stdout.splitlines()
    assert last == "loaded"
    assert len(refused) == 5
    assert all("babel.bin does not fit into memory" in line for line in refused)
