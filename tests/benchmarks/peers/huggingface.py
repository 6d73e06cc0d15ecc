"""OpenAI's checkpoint as transformers keeps it, which the peers' own converters read.

Goes in: a checkpoint as `torch.load` gives it. Comes out: a folder with model, tokenizer, features
and generation settings. Does not know: who converts it.

Nothing is downloaded: the tokenizer is made from openai-whisper's ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from whisper.model import ModelDimensions
from whisper.tokenizer import get_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whisper.tokenizer import Tokenizer

# Whisper's names and those of transformers, in the order in which they must be replaced.
RENAMED = (
    ("blocks", "layers"),
    (".cross_attn_ln", ".encoder_attn_layer_norm"),
    (".cross_attn", ".encoder_attn"),
    (".attn_ln", ".self_attn_layer_norm"),
    (".attn", ".self_attn"),
    (".mlp_ln", ".final_layer_norm"),
    (".mlp.0", ".fc1"),
    (".mlp.2", ".fc2"),
    (".query", ".q_proj"),
    (".key", ".k_proj"),
    (".value", ".v_proj"),
    (".out.", ".out_proj."),
    ("token_embedding", "embed_tokens"),
    ("positional_embedding", "embed_positions.weight"),
    ("ln_post", "layer_norm"),
    ("decoder.ln.", "decoder.layer_norm."),
)
CONTROLS = 50_364  # where the tokens end that transformers calls special; timestamps follow


def write(checkpoint: dict[str, object], folder: Path) -> None:
    """Everything that transformers would load."""
    dims = ModelDimensions(**checkpoint["dims"])
    whisper_tokenizer = get_tokenizer(multilingual=True, num_languages=dims.n_vocab - 51_766)
    model = WhisperForConditionalGeneration(configuration(dims, whisper_tokenizer))
    state = {
        f"model.{renamed(name)}": tensor.float()
        for name, tensor in checkpoint["model_state_dict"].items()
    }
    model.load_state_dict({**state, "proj_out.weight": state["model.decoder.embed_tokens.weight"]})
    model.generation_config = generation(whisper_tokenizer)
    model.save_pretrained(folder)
    tokenizer(whisper_tokenizer).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=dims.n_mels).save_pretrained(folder)


def configuration(dims: ModelDimensions, tokenizer: Tokenizer) -> WhisperConfig:
    width = dims.n_audio_state
    return WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=width,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * width,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * width,
        pad_token_id=tokenizer.eot,
        bos_token_id=tokenizer.eot,
        eos_token_id=tokenizer.eot,
        decoder_start_token_id=tokenizer.sot,
    )


def renamed(name: str) -> str:
    for old, new in RENAMED:
        name = name.replace(old, new)
    return name


def generation(tokenizer: Tokenizer) -> GenerationConfig:
    """What OpenAI's published models have there, without heads to align by."""
    specials = tokenizer.encoding._special_tokens
    controls = (
        *(tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm, tokenizer.no_speech),
        *(tokenizer.transcribe, tokenizer.translate),
    )
    return GenerationConfig(
        begin_suppress_tokens=[*tokenizer.encode(" "), tokenizer.eot],
        suppress_tokens=sorted({*tokenizer.non_speech_tokens, *controls}),
        pad_token_id=tokenizer.eot,
        bos_token_id=tokenizer.eot,
        eos_token_id=tokenizer.eot,
        decoder_start_token_id=tokenizer.sot,
        prev_sot_token_id=tokenizer.sot_prev,
        no_timestamps_token_id=tokenizer.no_timestamps,
        max_initial_timestamp_index=50,
        max_length=448,
        return_timestamps=False,
        is_multilingual=True,
        lang_to_id={
            f"<|{code}|>": specials[f"<|{code}|>"] for code in tokenizer.all_language_codes
        },
        task_to_id={"transcribe": tokenizer.transcribe, "translate": tokenizer.translate},
    )


def tokenizer(whisper_tokenizer: Tokenizer) -> WhisperTokenizerFast:
    """The same tokens under the same numbers."""
    encoding = whisper_tokenizer.encoding
    vocabulary = {spelling(token): rank for token, rank in encoding._mergeable_ranks.items()}
    made = WhisperTokenizerFast(vocab=vocabulary, merges=list(merges(encoding._mergeable_ranks)))
    specials = sorted(encoding._special_tokens, key=encoding._special_tokens.__getitem__)
    controls = CONTROLS - len(vocabulary)
    made.add_special_tokens({"additional_special_tokens": specials[1:controls]})
    made.add_tokens([AddedToken(name, normalized=False) for name in specials[controls:]])
    assert made.convert_tokens_to_ids("<|30.00|>") == encoding._special_tokens["<|30.00|>"]
    return made


def merges(ranks: dict[bytes, int]) -> Iterator[tuple[str, str]]:
    """Which two tokens each one is merged from: the two that are merged earliest themselves."""
    for token in ranks:
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
        if known:
            left, right = min(known, key=lambda pair: max(map(ranks.__getitem__, pair)))
            yield spelling(left), spelling(right)


def spelling(token: bytes) -> str:
    """Bytes in the printable letters that GPT-2's vocabulary has for them."""
    letters = bytes_to_unicode()
    return "".join(letters[byte] for byte in token)
