"""Runs the speech synthesisers and lossy codecs.

In: a text, a ``Voice`` and a ``Manner``. Out: float32 samples at 16 kHz, mono, trimmed to the
spoken part, peak 0.5. Does not know: where sentences and voices come from, or what becomes of them.
"""

import io
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from models.demo.training.voices import Manner, Voice

Audio = npt.NDArray[np.float32]  # samples between -1 and 1

RATE_HZ = 16_000
FULL_SCALE = 32_767
INT16_RANGE = np.float32(32_768)
PEAK = 0.5
_SILENCE = 0.01  # frames 40 dB under the loudest one are trimmed
_RATIO_STEP_HZ = 50  # sample rates are rounded to this, to keep the resampling filter short
CODECS = {
    "mp3": ("-c:a", "libmp3lame", "-b:a", "48k"),
    "ogg": ("-c:a", "libopus", "-b:a", "24k"),
    "m4a": ("-c:a", "aac", "-b:a", "40k"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence to be spoken."""

    text: str
    voice: Voice
    manner: Manner


def speak(lines: Sequence[Line]) -> list[Audio]:
    """Speak every line; those of festival in one process, which starts slowly."""
    slow = [i for i, line in enumerate(lines) if line.voice.engine == "festival"]
    spoken = dict(zip(slow, _festival([lines[i] for i in slow]), strict=True))
    return [
        spoken[i] if i in spoken else _finish(_ENGINES[line.voice.engine](line), line.manner)
        for i, line in enumerate(lines)
    ]


def transcode(audio: Audio, codec: str) -> Audio:
    """Encode with a lossy codec and decode again, at the same length."""
    raw = ("-f", "s16le", "-ar", str(RATE_HZ), "-ac", "1")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sound.{codec}"
        ffmpeg = ("ffmpeg", "-v", "error", "-y")
        pcm = (audio * FULL_SCALE).astype("<i2").tobytes()
        subprocess.run([*ffmpeg, *raw, "-i", "-", *CODECS[codec], path], input=pcm, check=True)
        done = subprocess.run([*ffmpeg, "-i", path, *raw, "-"], check=True, capture_output=True)
    decoded = np.frombuffer(done.stdout, "<i2").astype(np.float32) / INT16_RANGE
    return np.pad(decoded, (0, max(0, len(audio) - len(decoded))))[: len(audio)]


def _espeak(line: Line) -> bytes:
    manner = line.manner
    speed, pitch = str(manner.words_per_minute), str(manner.pitch)
    command = ["espeak-ng", "-v", line.voice.name, "-s", speed, "-p", pitch, "--stdout", line.text]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _flite(line: Line) -> bytes:
    stretch = f"duration_stretch={line.manner.stretch or 1.0:.3f}"
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["flite", "-voice", line.voice.name, "--setf", stretch, "-t", line.text]
        subprocess.run([*command, "-o", file.name], check=True, capture_output=True)
        return Path(file.name).read_bytes()


_ENGINES = {"espeak": _espeak, "flite": _flite}


def _festival(lines: Sequence[Line]) -> list[Audio]:
    if not lines:
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "lines.scm"
        commands = (_scheme(line, folder / f"{i}.wav") for i, line in enumerate(lines))
        script.write_text("\n".join(commands), encoding="utf-8")
        subprocess.run(["festival", "-b", str(script)], check=True, capture_output=True)
        return [
            _finish((folder / f"{i}.wav").read_bytes(), line.manner) for i, line in enumerate(lines)
        ]


def _scheme(line: Line, path: Path) -> str:
    settings = ""
    if line.manner.melody_hz:
        mean_hz, deviation_hz = line.manner.melody_hz
        settings += (
            f"(set! int_lr_params '((target_f0_mean {mean_hz:.1f})"
            f" (target_f0_std {deviation_hz:.1f}) (model_f0_mean 170) (model_f0_std 34))) "
        )
    if line.manner.stretch:
        settings += f"(Parameter.set 'Duration_Stretch {line.manner.stretch:.3f}) "
    text = line.text.replace('"', "")
    save = f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}")'
    return f"({line.voice.name}) {settings}{save}"


def _finish(wav: bytes, manner: Manner) -> Audio:
    """Trim, resample and normalise what a synthesiser wrote."""
    audio, rate_hz = _read_wav(wav)
    audio = _trim(audio, rate_hz)
    source = round(rate_hz * manner.frequency_factor / _RATIO_STEP_HZ)
    resampled: Audio = resample_poly(audio, RATE_HZ // _RATIO_STEP_HZ, source).astype(np.float32)
    return PEAK * resampled / max(1e-4, float(np.abs(resampled).max()))


def _read_wav(wav: bytes) -> tuple[Audio, int]:
    """Samples and rate of a 16-bit wav whose header may tell no length (it was streamed)."""
    with wave.open(io.BytesIO(wav)) as file:
        rate_hz = file.getframerate()
    pcm = wav[wav.index(b"data") + 8 :]
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
    return samples.astype(np.float32) / INT16_RANGE, rate_hz


def _trim(audio: Audio, rate_hz: int) -> Audio:
    hop = rate_hz // 100
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    if not len(frames):
        return audio[:0]
    level = np.sqrt((frames**2).mean(1))
    loud = np.flatnonzero(level > _SILENCE * level.max())
    return audio[loud[0] * hop : (loud[-1] + 1) * hop]
