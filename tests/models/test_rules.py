"""The rules for many rows at once against whisper's own filters, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.decoding import DecodingOptions, DecodingTask, LogitFilter
from whisper.model import ModelDimensions, Whisper

from models.engines.decode import quiet
from models.engines.rules import log_probabilities, rules_of


def task_of(vocabulary, language="en", **options):
    model = Whisper(ModelDimensions(80, 1500, 64, 1, 1, vocabulary, 448, 64, 1, 1))
    with quiet():
        return DecodingTask(model, DecodingOptions(language=language, **options))


TASKS = [
    task_of(51865),
    task_of(51864, max_initial_timestamp=None),
    task_of(51866, suppress_tokens="", prompt="Anna and Oliver"),
    task_of(51865, without_timestamps=True),
    task_of(51864, suppress_blank=False, suppress_tokens="11,13"),
]


def filtered(task, logits, sampled):
    """What whisper makes of one row."""
    row = logits[None].clone()
    tokens = torch.tensor([[*task.initial_tokens, *sampled]])
    for one in task.logit_filters:
        one.apply(row, tokens)
    return torch.log_softmax(row, -1)[0]


@st.composite
def sampled_tokens(draw, task):
    """Text with timestamps in any order, as a search in the midst of its work may hold it."""
    begin = task.tokenizer.timestamp_begin
    text = st.integers(0, task.tokenizer.eot - 1)
    stamp = st.integers(begin, begin + 1500)
    return draw(st.lists(st.one_of(text, text, stamp, stamp), max_size=6))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.options.suppress_tokens))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rows_of_all_lengths_get_what_whisper_gives_to_each(task, data):
    sampled = data.draw(st.lists(sampled_tokens(task), min_size=1, max_size=4))
    seed = data.draw(st.integers(0, 10**6))
    vocabulary = task.model.dims.n_vocab
    logits = torch.randn(len(sampled), vocabulary, generator=torch.Generator().manual_seed(seed))
    # so that a timestamp wins in some rows, and text in others
    begin = task.tokenizer.timestamp_begin
    logits[:, begin:] += data.draw(st.floats(-9, 3, width=32))
    truth = [filtered(task, row, tokens) for row, tokens in zip(logits, sampled, strict=True)]
    found = log_probabilities(logits.clone(), rules_of(task), sampled)
    for mine, theirs in zip(found, truth, strict=True):
        assert torch.equal(mine.isneginf(), theirs.isneginf())
        assert mine.argmax() == theirs.argmax()
        assert torch.allclose(mine, theirs, atol=2e-5, rtol=0)


def test_a_filter_that_is_not_whispers_is_refused():
    task = task_of(51865)
    task.logit_filters.append(LogitFilter())
    with pytest.raises(TypeError, match="LogitFilter is no filter of whisper's"):
        rules_of(task)


def test_tasks_that_differ_in_language_only_have_equal_rules():
    assert rules_of(task_of(51865, "de")) == rules_of(TASKS[0])
    assert rules_of(TASKS[3]) != rules_of(TASKS[0])
