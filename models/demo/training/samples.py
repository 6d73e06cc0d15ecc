"""Makes the bundled recordings: an episode and six clips.

In: a folder. Out: in it, the recordings, the episode's true SRT and the clips' index. Does not
know: any model.

Every sentence is held out, so none was trained on. Both speakers of the episode are voices that
were heard in training; the clips' voices are in the index.

    python -m models.demo.training.samples FOLDER
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.demo import TrueSegment
from models.demo.training import grammar
from models.demo.training.speech import FULL_SCALE, RATE_HZ, Line, speak
from models.demo.training.voices import Voice, plain_manner

Sound = npt.NDArray[np.float64]

SEED = 7
_TRIES = 20_000
_HISS = 5e-4  # faint noise, as even a quiet room has
_EPISODE_LEAD_S, _CLIP_LEAD_S, _CLIP_PAUSE_S = 0.5, 0.3, 0.6
_SPEAKERS = {"H": Voice("flite", "rms"), "G": Voice("flite", "slt")}  # host and guest


@dataclass(frozen=True, slots=True)
class Turn:
    """A sentence to be drawn from a template, who says it, and the pause after it."""

    voice: Voice
    pause_s: float
    template: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A short recording to be made."""

    file: str
    voice: Voice
    templates: tuple[str, ...]


# Speaker, seconds of pause after it, template.
EPISODE = tuple(
    Turn(_SPEAKERS[speaker], float(pause_s), template)
    for speaker, pause_s, template in (
        line.split(" ", 2)
        for line in """
H 0.6 Hello and welcome back to another episode about {topic}.
H 0.5 Good {period}, everyone, my name is {name}.
H 0.4 My guest today is {name}, a {job} from {place}.
H 0.9 Thank you so much for joining us, {name}.
G 0.5 Thanks for having me, {name}, it's great to be here.
G 1.2 I was born in {place} in {month}.
G 0.7 I moved from {place} to {place} {num} years ago.
H 0.6 How did you become a {job}?
G 0.4 I started as a {job} {num} years ago.
G 0.5 When I was {num}, I wanted to be a {job}.
G 1.5 {he} told {obj} a {adj} story about {place}.
H 0.5 What did you learn about {topic} in {place}?
G 0.4 I {say} that {topic} is very {adj}.
G 0.5 {quant} {people} {say} that {topic} is {adj}.
G 0.8 About {num} percent of {people} {verb} {adv}.
H 0.5 {lead} that's a {adj} question.
H 0.6 {name}, could you tell us more about {topic}?
G 0.4 We asked {big} {people} about {topic}.
G 0.3 It took {num} {unit} to build the {thing}.
G 1.0 The {color} {thing} is very {adj}.
H 0.4 {lead} {topic} is {adj} and {adj}.
H 6.5 {lead} let's ask {name} about {topic}.
H 0.5 Let's move on to {work}.
H 0.6 {name}, what do you think about {work}?
G 0.4 We have {num} {unit} to finish {work}.
G 0.5 The problem with {work} is the price.
G 0.3 {name} will send {work} by {day}.
G 0.9 {lead} you should {verb} {adv}.
H 0.5 Do you {freq} {verb} in the {period}?
G 0.4 After {num} {unit}, {work} was ready.
G 1.1 The meeting on {day} is at {hour} in the {period}.
H 0.5 I agree with {name} about {topic}.
H 0.5 Are you {feel} about {work}?
G 0.6 I was really {feel} when I saw {spot}.
G 0.4 My {kin} is a {job} in {place}.
G 0.5 {he} works at {spot} from {day} to {day}.
G 0.4 {subj} went to {spot} with {poss} {kin} {when}.
G 1.3 I bought a {size} {color} {thing} {when}.
H 0.5 How much does the {color} {thing} cost?
G 0.4 It costs {num} dollars a {oneunit}.
G 0.5 {he} has a {size} {thing} and {dig} children.
G 3.5 The best thing about {place} is the {eat}.
H 0.4 The weather in {place} is {freq} {wx} in {month}.
H 0.5 It is {wx} and {wx} in {place} today.
G 0.5 If it is {wx}, we will {verb} at {spot}.
G 0.4 I {freq} eat {eat} in the {period}.
G 0.6 I would like some {eat} and {eat}, please.
H 0.5 {he} made {eat} for {num} {people}.
H 0.4 In the {period} {quant} {people} {verb} {adv}.
H 0.8 In {month} {name} went to {place} by {thing}.
G 0.5 There is a {size} {color} {thing} near {spot}.
G 0.4 The train to {place} leaves in {num} minutes.
G 1.0 {lead} we can talk about it {later}.
H 0.5 Please send your questions about {topic} to {name}.
H 0.6 If you like {topic}, you should visit {place}.
H 0.7 On {month} {dig} we will open {spot}.
H 1.0 Please join us again on {day} at {hour} o'clock.
""".strip().splitlines()
    )
)
CLIPS = (
    Clip(
        "clip1.wav",
        Voice("flite", "slt"),
        (
            "{name}, can you send {work} to {name} by {day}?",
            "I was really {feel} when I saw {spot}.",
        ),
    ),
    Clip(
        "clip2.wav",
        Voice("espeak", "en-us+m3"),
        (
            "The meeting starts at {hour} o'clock on {day}.",
            "The next item is {work}.",
        ),
    ),
    Clip(
        "clip3.ogg",
        Voice("flite", "awb"),
        (
            "Where did you find that {size} {thing}?",
            "{he} was {feel} because the {thing} was {size}.",
        ),
    ),
    Clip(
        "clip4.ogg",
        Voice("espeak", "en-gb+f3"),
        (
            "I worked with {num} {people} in {place}.",
            "I want to {verb} and {verb} more this year.",
        ),
    ),
    Clip(
        "clip5.mp4",
        Voice("flite", "rms"),
        (
            "This is {name} from {place}.",
            "More than {big} {people} answered the survey.",
            "Let's talk about {work} for a few minutes.",
        ),
    ),
    Clip(
        "clip6.mp4",
        Voice("festival", "voice_ked_diphone"),
        (
            "Today we are talking about {topic} and {topic}.",
            "It was a {wx} {period} in {month}.",
        ),
    ),
)
_PICTURE = ("-f", "lavfi", "-i", "color=c=navy:s=320x180:r=10")
_INPUTS = {"clip5.mp4": _PICTURE}  # a real video: a plain picture beside the sound
_X264 = "-c:v libx264 -preset veryfast -crf 35 -pix_fmt yuv420p"
_ENCODERS = {
    "clip1.wav": "-c:a pcm_s16le",
    "clip2.wav": "-ar 44100 -ac 2 -c:a pcm_s16le",
    "clip3.ogg": "-c:a libopus -b:a 32k",
    "clip4.ogg": "-c:a libvorbis -ar 22050 -q:a 3",
    "clip5.mp4": f"{_X264} -c:a aac -b:a 64k -shortest",
    "clip6.mp4": "-c:a aac -b:a 48k",
    "episode.mp3": "-c:a libmp3lame -b:a 48k",
}


def make(folder: Path) -> None:
    """Write the episode and all clips."""
    rng = random.Random(SEED)
    episode = [(turn, _held_out(turn.template, rng)) for turn in EPISODE]
    audio, truth = _lay_out(episode, _EPISODE_LEAD_S, rng)
    _encode(audio, folder / "episode.mp3")
    cues = (
        f"{i}\n{_clock(s.start_s)} --> {_clock(s.end_s)}\n{s.text}\n"
        for i, s in enumerate(truth, 1)
    )
    (folder / "episode.reference.srt").write_text("\n".join(cues), encoding="utf-8")
    index = [_make_clip(clip, folder, rng) for clip in CLIPS]
    (folder / "clips.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _make_clip(clip: Clip, folder: Path, rng: random.Random) -> dict[str, object]:
    """Write one clip; returns its entry in the index."""
    turns = [(Turn(clip.voice, _CLIP_PAUSE_S, t), _held_out(t, rng)) for t in clip.templates]
    audio, truth = _lay_out(turns, _CLIP_LEAD_S, rng)
    _encode(audio, folder / clip.file)
    return {
        "file": clip.file,
        "voice": str(clip.voice),
        "duration_s": round(len(audio) / RATE_HZ, 2),
        "segments": [asdict(segment) for segment in truth],
    }


def _held_out(template: str, rng: random.Random) -> str:
    """A test sentence of one template."""
    for _ in range(_TRIES):
        sentence = grammar.expand(template, rng)
        if grammar.part_of(sentence) == "test":
            return sentence
    raise ValueError(f"no held-out sentence for {template!r}")


def _lay_out(
    turns: Sequence[tuple[Turn, str]], lead_s: float, rng: random.Random
) -> tuple[Sound, list[TrueSegment]]:
    """The sound of all turns, and when each is spoken."""
    pieces, truth = [np.zeros(int(lead_s * RATE_HZ))], []
    for turn, text in turns:
        [clip] = speak([Line(text, turn.voice, plain_manner(turn.voice, rng))])
        start_s = sum(map(len, pieces)) / RATE_HZ
        end_s = start_s + len(clip) / RATE_HZ
        truth.append(TrueSegment(round(start_s, 3), round(end_s, 3), text))
        pieces += [clip.astype(np.float64), np.zeros(int(turn.pause_s * RATE_HZ))]
    audio = np.concatenate(pieces)
    hiss = _HISS * np.random.default_rng(1).standard_normal(len(audio))
    return audio + hiss, truth


def _encode(audio: Sound, path: Path) -> None:
    raw = ("-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "-")
    inputs = (*raw, *_INPUTS.get(path.name, ()))
    output = (*_ENCODERS[path.name].split(), "-map_metadata", "-1", str(path))
    pcm = (np.clip(audio, -1, 1) * FULL_SCALE).astype("<i2").tobytes()
    subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, *output], input=pcm, check=True)


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the bundled recordings."""
    parser = argparse.ArgumentParser(prog="models.demo.training.samples", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args(arguments).folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
