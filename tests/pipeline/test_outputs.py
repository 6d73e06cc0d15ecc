"""Whose an output path is, and what a file was made from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.files import LOCK, wait_for_lock
from pipeline.outputs import Outputs
from pipeline.source import take


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "outputs")


class TestClaims:
    """An output path belongs to one source."""

    @pytest.fixture
    def media(self, tmp_path):
        first, second = tmp_path / "a.mp3", tmp_path / "a.mp4"
        first.touch()
        second.touch()
        return first, second

    def test_the_first_to_come_has_the_path(self, outputs, tmp_path, media):
        first, second = media
        assert outputs.claim([tmp_path / "a.en.srt"], first)
        assert not outputs.claim([tmp_path / "a.en.srt"], second)
        assert outputs.claim([tmp_path / "a.en.srt"], first)

    def test_of_several_paths_all_are_taken_or_none(self, outputs, tmp_path, media):
        first, second = media
        assert outputs.claim([tmp_path / "a.en.srt"], first)
        assert not outputs.claim([tmp_path / "a.en.json", tmp_path / "a.en.srt"], second)
        assert outputs.claim([tmp_path / "a.en.json"], first)

    def test_a_claim_passes_on_when_its_source_is_gone(self, outputs, tmp_path, media):
        first, second = media
        assert outputs.claim([tmp_path / "a.en.srt"], first)
        first.unlink()
        assert outputs.claim([tmp_path / "a.en.srt"], second)

    def test_clean_forgets_claims_that_protect_nothing(self, outputs, tmp_path, media):
        first, second = media
        outputs.claim([tmp_path / "a.en.srt", tmp_path / "b.en.srt"], first)
        outputs.claim([tmp_path / "c.en.srt"], second)
        first.unlink()
        (tmp_path / "a.en.srt").touch()
        outputs.clean()
        claims = [path for path in outputs.folder.iterdir() if path.name not in ("lock", "made")]
        assert len(claims) == 2

    def test_nothing_is_forgotten_while_somebody_claims(self, outputs, tmp_path, media):
        outputs.claim([tmp_path / "a.en.srt"], media[0])
        with ThreadPoolExecutor(1) as other:
            with wait_for_lock(outputs.folder / LOCK):
                cleaning = other.submit(outputs.clean)
                with pytest.raises(TimeoutError):
                    cleaning.result(timeout=0.2)
            cleaning.result()

    def test_a_claim_that_is_made_again_keeps_what_the_file_was_made_from(
        self, outputs, tmp_path, media
    ):
        media[0].write_text("sound")
        target = tmp_path / "a.en.srt"
        target.touch()
        outputs.note([target], take(media[0]), "transcribe")
        assert outputs.claim([target], media[0])
        assert outputs.made(target).source == take(media[0])


class TestVersions:
    """A subtitle is of one version of its media."""

    @pytest.fixture
    def talk(self, tmp_path):
        path = tmp_path / "talk.mp3"
        path.write_text("sound")
        return path

    @pytest.fixture
    def srt(self, tmp_path):
        path = tmp_path / "talk.en.srt"
        path.write_text("1")
        return path

    def test_of_the_same_version_it_is_not_outdated(self, outputs, talk, srt):
        outputs.note([srt], take(talk), "transcribe")
        assert not outputs.is_outdated(srt, take(talk))

    def test_of_another_version_it_is(self, outputs, talk, srt):
        outputs.note([srt], take(talk), "transcribe")
        talk.write_text("another sound")
        assert outputs.is_outdated(srt, take(talk))

    def test_what_somebody_touched_since_is_theirs(self, outputs, talk, srt):
        outputs.note([srt], take(talk), "transcribe")
        talk.write_text("another sound")
        srt.write_text("corrected by hand")
        assert not outputs.is_outdated(srt, take(talk))

    def test_what_somebody_else_wrote_or_removed_is_not(self, outputs, talk, srt):
        assert not outputs.is_outdated(srt, take(talk))
        outputs.note([srt], take(talk), "transcribe")
        talk.write_text("another sound")
        srt.unlink()
        assert not outputs.is_outdated(srt, take(talk))

    def test_that_of_another_source_is_not(self, outputs, talk, srt, tmp_path):
        other = tmp_path / "talk.wav"
        other.write_text("sound")
        outputs.note([srt], take(talk), "transcribe")
        assert not outputs.is_outdated(srt, take(other))


class TestMadeFrom:
    """What was written from this very version of a source."""

    def test_several_jobs_of_one_source_may_note_what_they_wrote_at_the_same_time(
        self, outputs, tmp_path
    ):
        talk = tmp_path / "talk.mp3"
        talk.write_text("sound")
        written = [tmp_path / f"talk.{number}.srt" for number in range(40)]
        for path in written:
            path.touch()
        with ThreadPoolExecutor(8) as jobs:
            list(jobs.map(lambda path: outputs.note([path], take(talk), "transcribe"), written))
        assert set(outputs.made_from(take(talk), "transcribe")) == set(written)

    @pytest.fixture
    def media(self, tmp_path):
        path = tmp_path / "a.mp3"
        path.write_text("sound")
        return path

    def noted(self, outputs, media, *names):
        targets = tuple(media.parent / name for name in names)
        for target in targets:
            target.write_text("text")
        outputs.note(targets, take(media), "transcribe")
        return targets

    def test_all_outputs_of_a_source_are_known_wherever_they_lie(self, outputs, media, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        first = self.noted(outputs, media, "a.en.srt")
        second = self.noted(outputs, media, "elsewhere/a.en.txt", "a.en.srt")
        assert outputs.made_from(take(media), "transcribe") == (*first, second[0])

    def test_an_output_that_is_gone_does_not_count(self, outputs, media):
        (target,) = self.noted(outputs, media, "a.en.srt")
        target.unlink()
        assert outputs.made_from(take(media), "transcribe") == ()

    def test_what_was_made_from_an_older_version_does_not_count(self, outputs, media):
        self.noted(outputs, media, "a.en.srt")
        media.write_text("other sound")
        assert outputs.made_from(take(media), "transcribe") == ()

    def test_what_another_task_made_does_not_count(self, outputs, media):
        self.noted(outputs, media, "a.en.srt")
        assert outputs.made_from(take(media), "translate") == ()

    def test_nothing_is_known_of_a_stranger(self, outputs, media):
        assert outputs.made_from(take(media), "transcribe") == ()

    def test_clean_forgets_the_list_of_a_source_that_is_gone(self, outputs, media):
        self.noted(outputs, media, "a.en.srt")
        media.unlink()
        outputs.clean()
        assert list(outputs.folder.glob("made/*")) == []
