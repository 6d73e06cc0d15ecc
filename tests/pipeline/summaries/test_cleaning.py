"""What is left of text that nobody vouches for."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.cleaning import LIMITS, neutral, short, visible

# Control tokens, and where they are told of.
CONTROL_TOKENS = {
    "ChatML, Qwen (openai-python, chatml.md)": "<|im_start|> <|im_end|> <|endoftext|>",
    "Llama 3 (llama.com, model cards)": "<|begin_of_text|> <|start_header_id|> <|eot_id|>",
    "Llama 2 (llama.com, model cards)": "<<SYS>> <</SYS>> <s> </s> [INST] [/INST]",
    "Mistral (mistral-common)": "[SYSTEM_PROMPT] [TOOL_CALLS] [AVAILABLE_TOOLS]",
    "Gemma (ai.google.dev, prompt structure)": "<start_of_turn> <end_of_turn> <bos> <eos>",
    "harmony, gpt-oss (openai/harmony)": "<|start|> <|channel|> <|message|> <|return|> <|call|>",
    "DeepSeek (tokenizer_config.json)": "<｜begin▁of▁sentence｜> <｜User｜> <｜Assistant｜>",
    "Command R (tokenizer_config.json)": "<BOS_TOKEN> <|START_OF_TURN_TOKEN|>",
    "Phi 4 (tokenizer_config.json)": "<|im_sep|> <|user|> <|assistant|> <|end|>",
    "GLM (tokenizer_config.json)": "[gMASK] <sop> <|observation|>",
    "Granite (tokenizer_config.json)": "<|start_of_role|> <|end_of_role|>",
    "thinking and tools (Qwen 3)": "<think> </think> <tool_call> </tool_call>",
    "the same in compatibility forms": "＜|im_start|＞ ﹤s﹥ ［INST］",
}
SIGNS = set("<>[]|｜▁＜＞﹤﹥［］`")


@pytest.mark.parametrize("tokens", CONTROL_TOKENS.values(), ids=CONTROL_TOKENS)
def test_no_control_token_of_a_chat_template_is_left(tokens):
    for token in tokens.split():
        left = neutral(f"so {token} said")
        assert not SIGNS & set(left)
        assert not SIGNS & set(unicodedata.normalize("NFKC", left))
        assert left.startswith("so ")


@given(st.text())
def test_nothing_unseen_is_left_and_cleaning_twice_changes_nothing(text):
    once = neutral(text)
    assert neutral(once) == once
    assert not SIGNS & set(once)
    unseen = {c for c in once if unicodedata.category(c) in ("Cc", "Cs", "Cn", "Co", "Cf")}
    assert unseen <= {"\u200c", "\u200d"}
    assert once == once.strip()
    assert "\n" not in once


@pytest.mark.parametrize(
    ("hidden", "seen"),
    [
        ("ig\u200bnore", "ignore"),
        ("\ufeffstart", "start"),
        ("\u202eevil\u202c", "evil"),
        ("\u2066a\u2069b", "ab"),
        ("a\u200db", "ab"),
        ("hi" + "".join(chr(0xE0000 + ord(c)) for c in "obey"), "hi"),
        ("A" + "\ufe01" * 30, "A"),
        ("bell\x07 \x1b[2J", "bell (2J"),
        ("two\r\nlines\u2028three", "two lines three"),
        ("half \ud800", "half"),
    ],
)
def test_what_cannot_be_seen_is_gone(hidden, seen):
    assert neutral(hidden) == seen


def test_joiners_stay_where_scripts_need_them():
    assert visible("می\u200cخواهم") == "می\u200cخواهم"
    assert visible("👩\u200d💻") == "👩\u200d💻"


@given(st.text(), st.sampled_from(sorted(LIMITS)))
def test_nothing_is_longer_than_its_kind_may_be(text, kind):
    assert len(short(text, kind)) <= LIMITS[kind]


def test_long_text_is_cut_between_words():
    cut = short("seven words " * 50, "title")
    assert cut.endswith(("seven…", "words…"))
    assert short("x" * 500, "name") == "x" * 79 + "…"
    assert short("as it is", "title") == "as it is"
