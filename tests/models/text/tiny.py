"""A language model of nothing: a GGUF file that llama.cpp runs, with random weights from a seed."""

from __future__ import annotations

import gguf
import numpy as np

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH, INNER, HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 2048
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
WORDS = ("▁", "the", "▁the", "and", "hello")
TOKENS = (*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS)
KINDS = (
    2,
    *[3] * (len(SPECIAL) - 1),
    *[6] * 256,
    *[1] * len(WORDS),
)  # unknown, control, byte, word


def write_tiny(path, template=CHATML, architecture="llama", layers=LAYERS, **more):
    """The file at `path`; `more` are keys of its own, such as split_count=2."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, template)
    for key, value in more.items():
        writer.add_uint32(key.replace("_", "."), value)
    _add_tensors(writer, layers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer, template):
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(KINDS)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(4)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)  # noqa: FBT003  - gguf's own way
    # llama.cpp's grammars refuse the space that would come before "assistant"
    writer.add_add_space_prefix(False)  # noqa: FBT003  - gguf's own way
    if template is not None:
        writer.add_chat_template(template)


def _add_tensors(writer, layers):
    rng = np.random.default_rng(7)

    def add(name, *shape):
        writer.add_tensor(name, (0.1 * rng.standard_normal(shape)).astype(np.float32))

    def add_norm(name):
        writer.add_tensor(name, np.ones(WIDTH, np.float32))

    add("token_embd.weight", len(TOKENS), WIDTH)
    add("output.weight", len(TOKENS), WIDTH)
    add_norm("output_norm.weight")
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH)
        add(f"blk.{layer}.ffn_up.weight", INNER, WIDTH)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, INNER)
        add_norm(f"blk.{layer}.attn_norm.weight")
        add_norm(f"blk.{layer}.ffn_norm.weight")
