from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from models import checkpoint
from models.registry import ALIASES, LANGUAGES, WHISPERS, Dimensions, find, languages_of, matching
from pipeline.errors import BadOption

MULTILINGUAL = [spec for spec in WHISPERS if len(spec.languages) > 1]
PUBLISHED_ROWS = [spec for spec in WHISPERS if spec.sha256]


def whisper_dims(spec):
    from whisper.model import ModelDimensions

    return ModelDimensions(**asdict(spec.dimensions))


def test_the_dimensions_have_whispers_own_names():
    from whisper.model import ModelDimensions

    assert {field.name for field in fields(Dimensions)} == set(ModelDimensions.__annotations__)


@pytest.mark.parametrize("spec", WHISPERS, ids=lambda spec: spec.name)
def test_parameters_are_all_numbers_of_a_whisper_of_these_dimensions(spec):
    state = checkpoint._skeleton(whisper_dims(spec)).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == spec.parameters


def test_every_published_model_has_a_row_and_every_row_is_published():
    import whisper

    names = {spec.name for spec in WHISPERS} - {"demo"} | set(ALIASES)
    assert names == set(whisper._MODELS)
    for alias, name in ALIASES.items():
        assert whisper._MODELS[alias] == whisper._MODELS[name]


def test_urls_and_hashes_are_those_of_openai_whisper():
    import whisper

    for spec in PUBLISHED_ROWS:
        assert whisper._MODELS[spec.name] == spec.url


@pytest.mark.parametrize("spec", PUBLISHED_ROWS, ids=lambda spec: spec.name)
def test_a_published_file_holds_its_parameters_in_float16_and_little_else(spec):
    assert 0 < spec.file_bytes - 2 * spec.parameters < 0.003 * spec.file_bytes


def test_rows_are_sorted_by_size():
    sizes = [spec.parameters for spec in WHISPERS]
    assert sizes == sorted(sizes)


def test_languages_are_whispers_own_in_its_order():
    from whisper.tokenizer import LANGUAGES as WHISPERS_OWN

    assert tuple(WHISPERS_OWN) == LANGUAGES


@pytest.mark.parametrize("spec", MULTILINGUAL, ids=lambda spec: spec.name)
def test_a_model_knows_as_many_languages_as_whisper_counts(spec):
    model = checkpoint._skeleton(whisper_dims(spec))
    assert len(spec.languages) == model.num_languages
    assert languages_of(spec.dimensions.n_vocab) == LANGUAGES[: model.num_languages]


def test_only_large_v3_and_its_turbo_hear_cantonese():
    hearing = {spec.name for spec in WHISPERS if "yue" in spec.languages}
    assert hearing == {"large-v3", "large-v3-turbo"}


def test_english_models_the_demo_and_turbo_do_not_translate():
    cannot = {spec.name for spec in WHISPERS if not spec.can_translate}
    english = {"demo", "tiny.en", "base.en", "small.en", "medium.en"}
    assert cannot == english | {"large-v3-turbo"}
    assert {spec.name for spec in WHISPERS if spec.languages == ("en",)} == english


def test_names_and_aliases_are_found():
    assert find("small.en").name == "small.en"
    assert find("large").name == "large-v3"
    assert find("turbo").name == "large-v3-turbo"


def test_a_misspelt_name_is_answered_with_what_is_near():
    with pytest.raises(BadOption, match=r'no model "Smal".*small'):
        find("Smal")


def test_a_name_like_none_is_answered_with_all():
    with pytest.raises(BadOption, match=r"there are demo, tiny\.en, .*, turbo\. "):
        find("zzz")


def test_dimensions_find_their_row_unless_two_rows_share_them():
    assert matching(find("small").dimensions) == find("small")
    assert matching(find("large-v2").dimensions) is None
    assert matching(replace(find("small").dimensions, n_text_layer=2)) is None
