"""Bad files and good ones in one command: each gets one clear line, the good ones subtitles."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import srt

from models.demo import EPISODE, clips

CLIP = clips()[0].path


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *map(os.fspath, arguments)], check=True)


def lavfi(*sources):
    return [part for source in sources for part in ("-f", "lavfi", "-i", source)]


BAD = {  # name: the class of the error
    "missing.mp3": "NoSuchFile",
    "x" * 300 + ".mp3": "NoSuchFile",
    "folder": "NoSuchFile",
    "empty.mp3": "NotMedia",
    "text.mp3": "NotMedia",
    "zip.mp3": "NotMedia",
    "playlist.mp3": "NotMedia",
    "concat.mp3": "NotMedia",
    "no-index.mp4": "NotMedia",
    "pictures-only.mp4": "NoAudio",
    "no-length.wav": "NoAudio",
    "fifo.mp3": "NotAFile",
    "zero": "NotAFile",
}
GOOD = ["line\nbreak.wav", "-dash.wav", "a:b.wav", "100%d %03d.wav", os.fsdecode(b"caf\xe9.wav")]


@pytest.fixture
def folder(program):
    """All files of BAD and GOOD, a silent one and half of an episode."""
    at = program.folder
    (at / "folder").mkdir()
    (at / "empty.mp3").touch()
    (at / "text.mp3").write_text("not sound\n" * 1000)
    with zipfile.ZipFile(at / "zip.mp3", "w") as archive:
        archive.write(CLIP, "clip.wav")
    (at / "playlist.mp3").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{CLIP}\n#EXT-X-ENDLIST\n"
    )
    (at / "concat.mp3").write_text("ffconcat version 1.0\nfile -dash.wav\n")
    ffmpeg(*lavfi("sine=d=3", "color=d=3:s=64x64"), at / "whole.mp4")
    whole = (at / "whole.mp4").read_bytes()
    (at / "no-index.mp4").write_bytes(whole[: len(whole) // 2])
    (at / "whole.mp4").unlink()
    ffmpeg(*lavfi("color=d=1:s=64x64"), at / "pictures-only.mp4")
    ffmpeg(*lavfi("sine=d=1"), "-t", "0", at / "no-length.wav")
    os.mkfifo(at / "fifo.mp3")
    (at / "zero").symlink_to("/dev/zero")
    for name in GOOD:
        shutil.copyfile(CLIP, at / name)
    ffmpeg(*lavfi("anullsrc=r=16000:cl=mono:d=4"), at / "silence.wav")
    (at / "half.mp3").write_bytes(EPISODE.read_bytes()[: EPISODE.stat().st_size // 2])
    return at


def test_every_bad_file_gets_one_clear_line_and_every_good_one_its_subtitles(program, folder):
    before = {path.name for path in folder.iterdir()}
    names = [*BAD, *GOOD, "silence.wav", "half.mp3"]
    ended = program.run("run", "--json", "--model", "demo", "--", *names)
    assert ended.code == 2
    assert "Traceback" not in ended.err

    outcomes = ended.outcomes
    failed = {name: outcome for name, outcome in outcomes.items() if outcome["state"] == "failed"}
    assert {name: outcome["error"] for name, outcome in failed.items()} == BAD
    for outcome in failed.values():
        assert "\n" not in outcome["reason"]
        assert Path(outcome["source"]).name in outcome["reason"]

    said = [text.strip(".?") for segment in clips()[0].segments for text in segment.text.split()]
    for name in GOOD:
        (output,) = map(Path, outcomes[name]["outputs"])
        words = " ".join(cue.content for cue in srt.parse(output.read_text())).split()
        assert len({word.strip(".?,") for word in words} & set(said)) > len(said) / 2

    assert outcomes["silence.wav"]["notes"] == ["no speech was found"]
    assert (folder / "silence.und.srt").read_bytes() == b""
    assert "promises 188.4 s, 94." in " ".join(outcomes["half.mp3"]["notes"])
    made = {path.name for path in folder.iterdir()} - before
    assert len(made) == len(GOOD) + 2
    assert all(name.endswith(".srt") for name in made)


def test_without_ffmpeg_it_is_said_what_to_install(program):
    shutil.copyfile(CLIP, program.folder / "a.wav")
    ended = program.run("--model", "demo", "a.wav", PATH="/nowhere")
    assert ended.code == 3
    assert "apt" in ended.out
    assert "Traceback" not in ended.out + ended.err


def test_without_weights_and_network_one_sentence_tells_both_ways_out(program):
    shutil.copyfile(CLIP, program.folder / "a.wav")
    ended = program.run("-q", "a.wav", https_proxy="http://127.0.0.1:9", no_proxy="")
    assert ended.code == 3
    (sentence,) = ended.err.splitlines()
    assert "small.pt" in sentence
    assert "transcribe demo" in sentence
    assert list(program.folder.iterdir()) == [program.folder / "a.wav"]


def test_a_checkpoint_that_is_none_is_refused_in_one_line(program):
    shutil.copyfile(CLIP, program.folder / "a.wav")
    (program.folder / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    ended = program.run("--model", "evil.pt", "a.wav")
    assert ended.code == 3
    assert "evil.pt" in ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err
    assert not (program.folder / "pwned").exists()


@pytest.mark.parametrize("full", ["home", "media"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(program, full):
    """A tiny file system in a mount namespace of its own."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    program.home.mkdir()
    place = {"home": program.home, "media": program.folder}[full]
    out = program.folder / "out" if full == "media" else program.folder.parent / "out"
    mount = f'mount -t tmpfs -o size=16k none "{place}" && "$@"; code=$?; ls -A {out}; exit $code'
    ended = program.run(
        *("--model", "demo", "-f", "json", "-o", out, EPISODE),
        within=["unshare", "-m", "sh", "-c", mount, "sh"],
    )
    assert ended.code == 3
    assert "space" in ended.out.splitlines()[-1], "and below it no file that was left over"
    assert "Traceback" not in ended.out + ended.err
