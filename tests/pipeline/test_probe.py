"""What is in a file is told truly, the right track is picked, and what is no media is refused."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import probe as module
from pipeline.errors import (
    BadOption,
    NoAudio,
    NotMedia,
    ToolFailed,
    ToolMissing,
    Unreadable,
)
from pipeline.ffmpeg import Patience
from pipeline.probe import embedded_subtitles, probe


@pytest.fixture
def look(tools):
    def look(path, language=None, audio_stream=None):
        return probe(path, language, audio_stream, tools)

    return look


# ── what is in it ────────────────────────────────────────────────────────────────────────────


def test_a_plain_file_has_one_track_from_the_start(media, look):
    info = look(media.tone("plain.mp3", 3))
    assert info.container == "mp3"
    assert info.duration_s == pytest.approx(3, abs=0.1)
    assert info.streams == (info.chosen,)
    assert (info.chosen.codec, info.chosen.channels) == ("mp3", 1)
    assert info.chosen.sample_rate_hz == 48000
    assert info.chosen.start_s == pytest.approx(0, abs=0.001)
    assert info.reason == "the only one"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late.mp4", ("-c:v", "mpeg4", "-c:a", "aac")),
        ("late.ts", ("-c:v", "mpeg2video", "-c:a", "mp2")),
    ],
)
def test_a_late_track_starts_late_on_the_medias_clock(media, look, name, options):
    info = look(media.film(name, *options, late_s=2))
    assert info.chosen.start_s == pytest.approx(2, abs=0.03)
    assert info.duration_s == pytest.approx(6, abs=0.1)


def test_a_transport_streams_clock_is_taken_off(media, look):
    path = media.tone("offset.ts", 2, "-c:a", "mp2", "-output_ts_offset", "5000")
    assert look(path).chosen.start_s == 0.0


def test_an_attached_picture_is_no_film(media, look):
    cover = media.make("cover.png", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1")
    options = ("-i", str(cover), "-map", "0", "-map", "1", "-disposition:v", "attached_pic")
    info = look(media.tone("covered.mp3", 2, *options))
    assert [stream.codec for stream in info.streams] == ["mp3"]
    assert info.chosen.start_s == pytest.approx(0, abs=0.001)


def test_a_guessed_length_is_no_claim(media, look):
    info = look(media.tone("guessed.aac", 5, "-f", "adts"))
    assert info.duration_s == pytest.approx(5, rel=0.1)
    assert info.chosen.duration_s is None


def test_video_decoders_stay_closed(media, tools):
    path = media.film("closed.mp4", "-c:v", "mpeg4", "-c:a", "aac")
    command = module._command(path, tools.ffprobe, Patience(tools.probe_s))
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Failed to open codec in avformat_find_stream_info" in finished.stderr
    assert "Codec (mpeg4) not on whitelist" in finished.stderr
    assert len(json.loads(finished.stdout)["streams"]) == 2


@pytest.mark.parametrize("text", [None, "N/A", "0", "-3.5", "nan", "inf", "9223372036854.77", "x"])
def test_absurd_lengths_are_none(text):
    assert module._duration_s(text) is None


# ── which track ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def dubbed(media):
    """Tracks in German, English (default), French; and one without a language."""
    return media.tone(
        "dubbed.mkv",
        1,
        *("-map", "0", "-map", "0", "-map", "0", "-map", "0", "-c:a", "mp2"),
        *("-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=eng"),
        *("-metadata:s:a:2", "language=fra", "-metadata:s:a:2", "title=Doublage"),
        *("-disposition:a:0", "0", "-disposition:a:1", "default"),
    )


def test_tracks_are_listed_with_their_tags(dubbed, look):
    streams = look(dubbed).streams
    assert [stream.position for stream in streams] == [0, 1, 2, 3]
    assert [stream.language for stream in streams] == ["de", "en", "fr", None]
    assert [stream.is_default for stream in streams] == [False, True, False, False]
    assert streams[2].title == "Doublage"


@pytest.mark.parametrize(
    ("language", "audio_stream", "position", "reason"),
    [
        (None, None, 1, "marked as default"),
        ("de", None, 0, 'tagged "de" as asked'),
        ("fr", None, 2, 'tagged "fr" as asked'),
        ("es", None, 1, 'none is tagged "es"; marked as default'),
        ("de", 3, 3, "chosen by its number"),
    ],
)
def test_the_track_is_picked_for_a_reason(dubbed, look, language, audio_stream, position, reason):
    info = look(dubbed, language, audio_stream)
    assert info.chosen == info.streams[position]
    assert info.reason == reason


def test_without_tags_the_first_track_is_picked(media, look):
    path = media.tone("two.ts", 1, "-map", "0", "-map", "0", "-c:a", "mp2")
    info = look(path, "en")
    assert (info.chosen.position, info.reason) == (0, 'none is tagged "en"; the first')


@pytest.mark.parametrize("number", [4, -1])
def test_a_track_that_is_not_there_is_answered_with_those_that_are(dubbed, look, number):
    words = rf"no audio track {number}: there is 0 \(de, mp2\), 1 \(en, mp2\).*3 \(no language"
    with pytest.raises(BadOption, match=words):
        look(dubbed, None, number)


# ── what is refused ──────────────────────────────────────────────────────────────────────────


def test_text_is_not_media(tmp_path, look):
    path = tmp_path / "notes.mp3"
    path.write_text("These are notes of a meeting.\n" * 20_000)
    with pytest.raises(NotMedia, match=r"notes\.mp3 is not media"):
        look(path)


def test_a_short_text_is_not_media(tmp_path, look):
    (tmp_path / "notes.mp3").write_text("hello\n")
    with pytest.raises(NotMedia, match=r"notes\.mp3 is not media"):
        look(tmp_path / "notes.mp3")


def test_an_archive_is_called_one(tmp_path, look):
    path = tmp_path / "talk.mp3"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("talk.txt", os.urandom(200_000))
    with pytest.raises(NotMedia, match="is a zip archive"):
        look(path)


def test_subtitles_and_pictures_have_no_sound(tmp_path, media, look):
    (tmp_path / "talk.mp3").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n\n")
    with pytest.raises(NotMedia, match="holds srt data, which has no sound"):
        look(tmp_path / "talk.mp3")
    picture = media.make("cover.png", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1")
    with pytest.raises(NotMedia, match="holds png_pipe data"):
        look(picture)


def test_a_silent_film_has_no_audio(media, look):
    options = ("-f", "lavfi", "-i", "testsrc=s=64x64:d=1", "-c:v", "mpeg4")
    with pytest.raises(NoAudio, match=r"silent\.mp4 has no audio track"):
        look(media.make("silent.mp4", *options))


def test_a_film_without_its_index_is_cut_short(media, look):
    film = media.film("film.mp4", "-c:v", "mpeg4", "-c:a", "aac")
    with pytest.raises(NotMedia, match=r"film\.mp4 is cut short: its index is missing"):
        look(media.half(film))


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{neighbour}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile {neighbour.name}\n",
}


@pytest.fixture(params=PLAYLISTS.values(), ids=PLAYLISTS)
def playlist(request, tmp_path):
    """A playlist whose entry is a FIFO, on which everybody hangs who opens it."""
    neighbour = tmp_path / "neighbour.ts"
    os.mkfifo(neighbour)
    path = tmp_path / "song.mp3"
    path.write_text(request.param.format(neighbour=neighbour))
    return path


def test_a_playlist_is_refused_and_its_entries_are_never_opened(playlist, look):
    with pytest.raises(NotMedia, match="a playlist, not media: refused because it can open other"):
        look(playlist)


def test_without_our_limits_ffprobe_would_have_opened_them(playlist):
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["ffprobe", "-v", "quiet", str(playlist)], check=False, timeout=0.5)


def test_a_file_that_went_away_is_unreadable(tmp_path, look):
    with pytest.raises(Unreadable, match="No such file"):
        look(tmp_path / "gone.mp3")


ODD = [b"-i.wav", b"concat:a|b.wav"]  # the others: test_convert


@pytest.mark.parametrize("raw", ODD)
def test_odd_names_are_nothing_but_names(media, look, tmp_path, monkeypatch, raw):
    path = tmp_path / os.fsdecode(raw)
    path.write_bytes(media.tone("small.wav", 1).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert look(Path(path.name)).duration_s == pytest.approx(1)


# ── tools that misbehave ─────────────────────────────────────────────────────────────────────


def test_without_ffprobe_the_user_is_told_to_install_it(media, tools):
    with pytest.raises(ToolMissing, match="no-ffprobe is not installed"):
        probe(media.tone("small.wav", 1), None, None, replace(tools, ffprobe="no-ffprobe"))


def test_an_ffprobe_that_hangs_is_stopped(media, tools, fake_tool, life):
    hung = fake_tool(f"exec 3>{life.path}; sleep 300")
    with pytest.raises(ToolFailed, match=r"small\.wav, got no further for 1 s"):
        probe(media.tone("small.wav", 1), None, None, replace(tools, ffprobe=hung, probe_s=1))
    assert life.ended


@pytest.mark.parametrize("stage", ["-decoders", "-show_entries"])
def test_an_interrupt_is_heeded_while_ffprobe_is_silent(media, tools, silent_tool, life, stage):
    silent = replace(tools, ffprobe=silent_tool(stage, "ffprobe"))
    with pytest.raises(KeyboardInterrupt):
        probe(media.tone("small.wav", 1), None, None, silent, life.interrupt_once_begun)
    assert life.ended


def test_a_broken_ffprobe_is_not_the_files_fault(media, tools, fake_tool):
    broken = fake_tool("echo 'libx264.so: cannot open shared object' >&2; exit 127")
    with pytest.raises(ToolFailed, match=r"failed: libx264\.so: cannot open"):
        probe(media.tone("small.wav", 1), None, None, replace(tools, ffprobe=broken))


# ── subtitles in it ──────────────────────────────────────────────────────────────────────────


SUBTITLE = "1\n00:00:00,000 --> 00:00:01,000\nHello.\n"


def with_subtitles(media, name, *options):
    text = media.folder / "hello.srt"
    text.write_text(SUBTITLE)
    tracks = ("-f", "lavfi", "-i", "sine=440:d=2", *("-i", text) * 3)
    maps = ("-map", "0", "-map", "1", "-map", "2", "-map", "3")
    return media.make(name, *tracks, *maps, *options)


def test_the_languages_of_text_subtitles_are_told_in_order(media, tools):
    tags = ("-metadata:s:s:0", "language=ger", "-metadata:s:s:1", "language=eng")
    for name, codec in (("subtitled.mkv", "srt"), ("subtitled.mp4", "mov_text")):
        film = with_subtitles(media, name, "-c:s", codec, *tags)
        assert embedded_subtitles(film, tools) == ("de", "en", None)


def test_forced_subtitles_are_not_full_ones(media, tools):
    film = with_subtitles(
        media,
        "forced.mkv",
        *("-c:s", "srt", "-disposition:s:0", "forced"),
        *("-metadata:s:s:0", "language=en", "-metadata:s:s:1", "language=fr"),
    )
    assert embedded_subtitles(film, tools) == ("fr", None)


def test_pictures_of_subtitles_are_no_text(media, tools, fake_tool):
    """ffmpeg cannot make them out of text, so a stand-in says what ffprobe says of a Blu-ray."""
    streams = [
        {"codec_type": "subtitle", "codec_name": name, "tags": {"language": "eng"}}
        for name in ("hdmv_pgs_subtitle", "dvd_subtitle", "subrip")
    ]
    report = json.dumps({"format": {"format_name": "mpegts"}, "streams": streams})
    told = replace(tools, ffprobe=fake_tool(f"echo '{report}'"))
    assert embedded_subtitles(media.tone("plain.mp3", 3), told) == ("en",)


def test_a_file_without_subtitles_has_none_and_a_playlist_is_refused(media, tools, tmp_path):
    assert embedded_subtitles(media.tone("plain.mp3", 3), tools) == ()
    playlist = tmp_path / "list.mkv"
    playlist.write_text("#EXTM3U\nsecret.srt\n")
    with pytest.raises(NotMedia):
        embedded_subtitles(playlist, tools)
