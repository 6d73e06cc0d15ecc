from __future__ import annotations

import random
import subprocess
import sys

import pytest
import torch
import whisper
from hypothesis import given
from hypothesis import strategies as st
from whisper.model import ModelDimensions, Whisper

from models.demo import (
    CHECKPOINT,
    EPISODE,
    EPISODE_REFERENCE,
    clips,
    compact,
    load_checkpoint,
)
from models.demo.training import grammar, int8, network, phrases, shifts, voices
from models.demo.training.vocabulary import UNKNOWN, Vocabulary

RATE_HZ = 16_000
LARGEST_FILE_BYTES = 9_000_000
MEDIA = {".mp3", ".wav", ".ogg", ".mp4"}
RECORDINGS = EPISODE.parent

# whisper leaves the files of its tokenizer and normaliser to be closed by the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

odd_floats = st.sampled_from([0.0, -0.0, 1.0, -8.0, float("nan"), float("inf"), 6e-8])
rows = st.lists(st.lists(odd_floats, min_size=3, max_size=3), min_size=1, max_size=12)


def bits(tensor):
    return tensor.view(torch.int16) if tensor.dtype == torch.float16 else tensor.view(torch.int32)


def same(left, right):
    return left.dtype == right.dtype and torch.equal(bits(left), bits(right))


@pytest.fixture(scope="module")
def model():
    checkpoint = load_checkpoint()
    built = Whisper(ModelDimensions(**checkpoint["dims"]))
    built.load_state_dict(checkpoint["model_state_dict"])
    return built.float().eval()


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary()


@pytest.fixture(scope="module")
def states(vocabulary):
    """What a fresh encoder gives: by shifts, by attention, and by attention in int8."""
    torch.manual_seed(0)
    net = network.build(vocabulary)
    mel, offset = torch.randn(1, 80, 400), torch.tensor([70])
    with torch.no_grad():
        inputs = network.encode(net, mel, offset, by_shifts=True).inputs
        shifts.write_out(net, inputs)
        by_shifts = network.encode(net, mel, offset, by_shifts=True).states
        by_attention = network.encode(net, mel, offset, by_shifts=False).states
        int8.imitate_int8(net)
        by_int8 = network.encode(net, mel, offset, by_shifts=False).states
    # At the ends of a short window attention would look beyond it.
    return [x[:, 50:-50] for x in (by_shifts, by_attention, by_int8)]


@pytest.fixture
def writer(vocabulary):
    pytest.importorskip("scipy")
    from models.demo.training.script import Writer

    return Writer(vocabulary, random.Random(0))


def sentences_in(path):
    return [block.split("\n", 2)[2].strip() for block in path.read_text().strip().split("\n\n")]


def words(text):
    return [word.strip(".,?!").lower() for word in text.split()]


class TestTheCompactForm:
    @given(rows, st.sampled_from([torch.float16, torch.float32]))
    def test_gives_every_bit_back(self, embedding, dtype):
        state = {
            compact.EMBEDDING: torch.tensor(embedding, dtype=dtype),
            "encoder.something": torch.arange(6, dtype=dtype).view(2, 3),
        }
        checkpoint = {"dims": {"n_vocab": len(embedding)}, "model_state_dict": state}
        back = compact.unpack(compact.pack(checkpoint))
        assert back["dims"] == checkpoint["dims"]
        assert back["model_state_dict"].keys() == state.keys()
        assert all(same(state[name], back["model_state_dict"][name]) for name in state)

    def test_stores_a_row_that_many_tokens_share_only_once(self):
        embedding = torch.full((1000, 4), -8.0)
        embedding[7] = 1.0
        state = {compact.EMBEDDING: embedding}
        packed = compact.pack({"dims": {"n_vocab": 1000}, "model_state_dict": state})
        assert packed["embedding_rows"].tolist() == [7]
        assert packed["embedding_rest"].tolist() == [-8.0] * 4

    def test_leaves_the_checkpoint_it_packs_alone(self):
        state = {compact.EMBEDDING: torch.zeros(2, 3)}
        compact.pack({"dims": {"n_vocab": 2}, "model_state_dict": state})
        assert state.keys() == {compact.EMBEDDING}

    def test_of_another_format_is_refused(self):
        with pytest.raises(ValueError, match="transcribe-demo-1"):
            compact.unpack({"format": "transcribe-demo-0"})

    def test_survives_the_disk(self, tmp_path):
        checkpoint = load_checkpoint()
        compact.save(checkpoint, tmp_path / "again.pt")
        back = compact.load(tmp_path / "again.pt")
        before, after = checkpoint["model_state_dict"], back["model_state_dict"]
        assert back["dims"] == checkpoint["dims"]
        assert before.keys() == after.keys()
        assert all(same(before[name], after[name]) for name in before)


class TestTheBundledCheckpoint:
    def test_is_small_enough_for_a_wheel(self):
        assert CHECKPOINT.stat().st_size < LARGEST_FILE_BYTES

    def test_becomes_a_file_that_whisper_loads_unchanged(self, tmp_path, model):
        full = tmp_path / "full.pt"
        assert compact.main([str(CHECKPOINT), str(full)]) == 0
        loaded = whisper.load_model(str(full), device="cpu")
        assert loaded.dims == model.dims
        assert not loaded.is_multilingual

    def test_never_chooses_a_token_it_does_not_know(self, model, vocabulary):
        unknown = torch.ones(model.dims.n_vocab, dtype=torch.bool)
        unknown[vocabulary.tokens[1:]] = False
        torch.manual_seed(0)
        tokens = torch.tensor(vocabulary.tokens[1:])[torch.randint(0, 600, (4, 30))]
        with torch.inference_mode():
            logits = model.decoder(tokens, torch.randn(4, 1500, model.dims.n_audio_state))
        torch.testing.assert_close(
            logits[..., unknown], torch.full_like(logits[..., unknown], -32.0)
        )
        assert (logits[..., ~unknown].amax(-1) > -32.0).all()

    def test_writes_most_words_of_every_clip_it_was_made_for(self, model):
        said, written = [], []
        for clip in clips():
            with torch.inference_mode():
                result = whisper.transcribe(model, str(clip.path), fp16=False)
            said += [word for segment in clip.segments for word in words(segment.text)]
            written += words(result["text"])
        missing = sum(word not in written for word in said)
        assert missing < 0.1 * len(said)

    def test_writes_nothing_into_silence(self, model):
        silence = torch.zeros(5 * RATE_HZ)
        assert whisper.transcribe(model, silence, fp16=False)["text"] == ""


class TestTheRecordings:
    def test_are_all_in_the_index(self):
        files = {path for path in RECORDINGS.iterdir() if path.suffix in MEDIA}
        assert files == {*(clip.path for clip in clips()), EPISODE}

    @pytest.mark.parametrize("clip", clips(), ids=lambda clip: clip.path.name)
    def test_are_as_long_as_the_index_says(self, clip):
        duration_s = len(whisper.load_audio(str(clip.path))) / RATE_HZ
        assert duration_s == pytest.approx(clip.duration_s, abs=0.1)

    @pytest.mark.parametrize("clip", clips(), ids=lambda clip: clip.path.name)
    def test_have_sentences_in_order_within_them(self, clip):
        times = [time for s in clip.segments for time in (s.start_s, s.end_s)]
        assert times == sorted(times)
        assert times[0] > 0
        assert times[-1] < clip.duration_s

    def test_say_only_sentences_that_nothing_was_trained_on(self):
        said = [segment.text for clip in clips() for segment in clip.segments]
        said += sentences_in(EPISODE_REFERENCE)
        fixed = set(phrases.TEMPLATES)
        assert len(said) == 13 + 57
        assert {grammar.part_of(text) for text in said if text not in fixed} == {"test"}


class TestImporting:
    def test_the_package_takes_no_heavy_library(self):
        code = "import sys, models.demo; print({'torch', 'whisper', 'numpy'} & set(sys.modules))"
        found = subprocess.check_output([sys.executable, "-c", code], text=True)
        assert found.strip() == "set()"


class TestTheGrammar:
    @given(st.integers(), st.sampled_from(["train", "test"]))
    def test_draws_a_sentence_of_the_part_that_is_asked_for(self, seed, part):
        sentence = grammar.sample(random.Random(seed), part)
        assert grammar.part_of(sentence) == part
        assert "{" not in sentence
        assert sentence[0].isupper()

    def test_holds_out_about_one_sentence_in_twelve(self):
        rng = random.Random(0)
        template = "{subj} saw {num} {people} at {spot} {when}."
        drawn = {grammar.expand(template, rng) for _ in range(6000)}
        held_out = [sentence for sentence in drawn if grammar.part_of(sentence) == "test"]
        assert len(held_out) / len(drawn) == pytest.approx(1 / 12, abs=0.02)

    def test_knows_the_words_that_the_model_card_counts(self):
        assert len(grammar.words()) == 613
        assert len(phrases.TEMPLATES) == 152

    def test_says_an_before_a_vowel(self):
        fixed = {"name": "Anna", "job": "engineer", "place": "Rome"}
        template = "My guest today is {name}, a {job} from {place}."
        sentence = grammar.expand(template, random.Random(0), fixed)
        assert sentence == "My guest today is Anna, an engineer from Rome."


class TestTheVoices:
    def test_held_out_are_never_drawn_for_training(self):
        rng = random.Random(0)
        for cast in (voices.SEEN_CAST, voices.TRAINING_CAST):
            assert not {cast.draw(rng) for _ in range(20_000)} & set(voices.HELD_OUT)

    def test_are_read_as_they_are_written(self):
        for voice in voices.HELD_OUT:
            assert voices.Voice.parse(str(voice)) == voice


class TestTheVocabulary:
    def test_knows_every_token_of_every_sentence(self, vocabulary):
        rng = random.Random(1)
        for part in ("train", "test"):
            for _ in range(500):
                assert UNKNOWN not in vocabulary.encode(grammar.sample(rng, part))

    def test_numbers_each_token_once(self, vocabulary):
        assert len(set(vocabulary.tokens)) == len(vocabulary.tokens) == 2168


class TestTheNetwork:
    def test_attends_where_its_shifts_looked(self, states):
        by_shifts, by_attention, _ = states
        assert (by_shifts - by_attention).abs().mean() < 0.03 * by_shifts.abs().mean()

    def test_bears_int8(self, states):
        _, by_attention, by_int8 = states
        assert (by_int8 - by_attention).abs().mean() < 0.06 * by_attention.abs().mean()


class TestTheScripts:
    @pytest.mark.parametrize("stamps", [True, False])
    def test_ask_for_every_word_that_is_said(self, writer, vocabulary, stamps):
        import numpy as np

        from models.demo.training.mixing import Scene, Spoken

        spoken = (Spoken("Yes, exactly.", 0.5, 1.5), Spoken("That's right.", 2.0, 3.0))
        scene = Scene(np.zeros(5 * RATE_HZ, np.float32), spoken)
        script = writer.script(scene, [], 0, stamps=stamps)
        asked = [label for label in script.labels if 0 < label <= vocabulary.text_count]
        assert asked == script.said == [t for s in spoken for t in vocabulary.encode(s.text)]
        assert len(script.tokens) == len(script.labels) == len(script.spans_s)
        assert script.labels[-1] == vocabulary.eot
        stamped = [label for label in script.labels if vocabulary.is_stamp(label)]
        times_s = [0.5, 1.5, 2.0, 3.0] if stamps else []
        assert stamped == [vocabulary.stamp(round(50 * time_s)) for time_s in times_s]

    def test_of_silence_ask_for_no_speech(self, writer, vocabulary):
        import numpy as np

        from models.demo.training.mixing import Scene

        script = writer.script(Scene(np.zeros(RATE_HZ, np.float32)), [], 0, stamps=True)
        assert script.labels == [vocabulary.no_speech, vocabulary.eot]


class TestTheFigures:
    def test_are_perfect_for_a_perfect_transcript(self):
        pytest.importorskip("jiwer")
        from models.demo.training.measure import figures

        truth = clips()[0].segments
        found = figures([(truth, truth)])
        assert (found.word_errors_percent, found.matched_percent) == (0, 100)
        assert (found.start_error_s, found.end_error_s) == (0, 0)

    def test_count_each_wrong_word(self):
        pytest.importorskip("jiwer")
        from models.demo import TrueSegment
        from models.demo.training.measure import figures

        truth = [TrueSegment(0.0, 1.0, "The red box is old."), TrueSegment(2.0, 3.0, "I see.")]
        guess = [TrueSegment(0.1, 1.0, "The blue box is old.")]
        found = figures([(truth, guess)])
        assert found.word_errors_percent == pytest.approx(100 * 3 / 7)
        assert found.matched_percent == 50
        assert found.start_error_s == pytest.approx(0.1)
