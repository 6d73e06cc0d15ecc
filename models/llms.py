"""What is known of each language model that may write summaries.

Goes in: a model's name, or its size. Comes out: a row of the table, or the memory that it needs.
Does not know: files on this machine, how a model is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from pipeline.errors import BadOption

HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class GgufFile:
    """One published file of weights."""

    quantisation: str  # llama.cpp's name for the mixture
    file_name: str
    file_bytes: int
    bits: float  # of the file for each weight of the model
    sha256: str | None  # None: not known beforehand, pinned at the first download


@dataclass(frozen=True, slots=True)
class LlmSpec:
    """One published model that follows instructions."""

    name: str
    parameters: int  # of what is in the file, without eyes; a tied embedding counts once
    licence: str  # as the Hub's tag has it
    context_tokens: int  # without stretching
    layers: int
    width: int
    key_width: int  # of all key heads of a layer together; values are as wide
    vocabulary: int  # tokens
    languages: str  # as its publisher says
    gguf_repo: str  # "owner/name" on the Hub
    gguf_files: tuple[GgufFile, ...]  # smallest first

    def url(self, file: GgufFile) -> str:
        """Where a file is published."""
        return f"{HUB}/{self.gguf_repo}/resolve/main/{file.file_name}"


def needed_bytes(parameters: int, bits: float) -> int:
    """The memory that a model needs: its weights at so many bits each, and a fifth more.

    Source: the rule of thumb M = P · 4 bytes · 1.2 / (32 / Q), for caches and all else.
    """
    return round(parameters * 4 * 1.2 / (32 / bits))


def _row(
    name: str,
    parameters: int,
    licence: str,
    context_tokens: int,
    shape: tuple[int, int, int, int],
    languages: str,
    gguf_repo: str,
    *files: tuple[str, str, int, str | None],
) -> LlmSpec:
    """A row; each file is quantisation, name, bytes and hash."""
    made = tuple(
        GgufFile(quantisation, file_name, size, round(8 * size / parameters, 2), sha256)
        for quantisation, file_name, size, sha256 in files
    )
    return LlmSpec(name, parameters, licence, context_tokens, *shape, languages, gguf_repo, made)


_QWEN25 = "29 and more"
_LLAMA = "8: en de fr it pt hi es th"

# Sources: licence, context, languages and shape (layers, width, key width, vocabulary) from each
# publisher's model card and config.json on the Hub; parameters counted from the latter, equal to
# the Hub's own totals; bytes and SHA-256 from the Hub's LFS pointers as several public catalogues
# agree on them. Models under the Hub's "gemma" and "llama3.x" licences may be used freely within
# their makers' terms of use. None of these thinks aloud.
# Order matters: smallest first.
LLMS: tuple[LlmSpec, ...] = (
    _row("qwen2.5-0.5b", 494_032_768, "apache-2.0", 32_768, (24, 896, 128, 151_936), _QWEN25,
         "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
         ("q4_k_m", "qwen2.5-0.5b-instruct-q4_k_m.gguf", 491_400_032,
          "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db"),
         ("q8_0", "qwen2.5-0.5b-instruct-q8_0.gguf", 675_710_816,
          "ca59ca7f13d0e15a8cfa77bd17e65d24f6844b554a7b6c12e07a5f89ff76844e")),
    _row("qwen2.5-1.5b", 1_543_714_304, "apache-2.0", 32_768, (28, 1536, 256, 151_936), _QWEN25,
         "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
         ("q4_k_m", "qwen2.5-1.5b-instruct-q4_k_m.gguf", 1_117_320_736,
          "6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e"),
         ("q8_0", "qwen2.5-1.5b-instruct-q8_0.gguf", 1_894_532_128,
          "d7efb072e7724d25048a4fda0a3e10b04bdef5d06b1403a1c93bd9f1240a63c8")),
    _row("llama-3.2-3b", 3_212_749_824, "llama3.2", 131_072, (28, 3072, 1024, 128_256), _LLAMA,
         "bartowski/Llama-3.2-3B-Instruct-GGUF",
         ("q4_k_m", "Llama-3.2-3B-Instruct-Q4_K_M.gguf", 2_019_377_696,
          "6c1a2b41161032677be168d354123594c0e6e67d2b9227c84f296ad037c728ff"),
         ("q8_0", "Llama-3.2-3B-Instruct-Q8_0.gguf", 3_421_899_296,
          "b5607b5090a8280063fff2d706bb3408ca6542341b06aab39c3eca0a28575921")),
    _row("qwen3-4b", 4_022_468_096, "apache-2.0", 262_144, (36, 2560, 1024, 151_936), "119",
         "bartowski/Qwen_Qwen3-4B-Instruct-2507-GGUF",
         ("q4_k_m", "Qwen_Qwen3-4B-Instruct-2507-Q4_K_M.gguf", 2_497_280_736,
          "2fde00ce69dd4899c70d020845e2638353015bba0fdf161b3eb965f2bca4464e"),
         ("q8_0", "Qwen_Qwen3-4B-Instruct-2507-Q8_0.gguf", 4_280_405_216,
          "260b5b5b6ad73e44df81a43ea1f5c11c37007b6bac18eb3cd2016e8667c19662")),
    _row("qwen2.5-7b", 7_615_616_512, "apache-2.0", 32_768, (28, 3584, 512, 152_064), _QWEN25,
         "bartowski/Qwen2.5-7B-Instruct-GGUF",
         ("q4_k_m", "Qwen2.5-7B-Instruct-Q4_K_M.gguf", 4_683_074_240,
          "65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423"),
         ("q8_0", "Qwen2.5-7B-Instruct-Q8_0.gguf", 8_098_525_888,
          "9c6a6e61664446321d9c0dd7ee28a0d03914277609e21bc0e1fce4abe780ce1b")),
    _row("llama-3.1-8b", 8_030_261_248, "llama3.1", 131_072, (32, 4096, 1024, 128_256), _LLAMA,
         "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
         ("q4_k_m", "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", 4_920_739_232,
          "7b064f5842bf9532c91456deda288a1b672397a54fa729aa665952863033557c"),
         ("q8_0", "Meta-Llama-3.1-8B-Instruct-Q8_0.gguf", 8_540_775_840,
          "9da71c45c90a821809821244d4971e5e5dfad7eb091f0b8ff0546392393b6283")),
    _row("gemma-3-12b", 11_765_788_416, "gemma", 131_072, (48, 3840, 2048, 262_144), "140 and more",
         "bartowski/google_gemma-3-12b-it-GGUF",
         ("q4_k_m", "google_gemma-3-12b-it-Q4_K_M.gguf", 7_300_575_264,
          "fc57f67efa46d711c346e587cbef7d049e95f3df8db2eb2271153343ef0acc7b")),
    _row("mistral-small-3.2-24b", 23_572_403_200, "apache-2.0", 131_072,
         (40, 5120, 1024, 131_072), "dozens",
         "bartowski/mistralai_Mistral-Small-3.2-24B-Instruct-2506-GGUF",
         ("q4_k_m", "mistralai_Mistral-Small-3.2-24B-Instruct-2506-Q4_K_M.gguf", 14_333_915_264,
          "80f5bda68f156f12650ca03a0a2dbfae06a215ac41caa773b8631a479f82415e")),
    _row("qwen2.5-32b", 32_763_876_352, "apache-2.0", 32_768, (64, 5120, 1024, 152_064), _QWEN25,
         "bartowski/Qwen2.5-32B-Instruct-GGUF",
         ("q4_k_m", "Qwen2.5-32B-Instruct-Q4_K_M.gguf", 19_851_336_576,
          "2e5f6daea180dbc59f65a40641e94d3973b5dbaa32b3c0acf54647fa874e519e"),
         ("q8_0", "Qwen2.5-32B-Instruct-Q8_0.gguf", 34_820_885_376, None)),
    _row("llama-3.3-70b", 70_553_706_496, "llama3.3", 131_072, (80, 8192, 1024, 128_256), _LLAMA,
         "bartowski/Llama-3.3-70B-Instruct-GGUF",
         ("q4_k_m", "Llama-3.3-70B-Instruct-Q4_K_M.gguf", 42_520_398_816,
          "32df3baccb556f9840059b2528b2dee4d3d516b24afdfb9d0c56ff5f63e3a664")),
)  # fmt: skip


def find_llm(name: str) -> LlmSpec:
    """The row of a model. Raises BadOption, naming what is near, when there is none."""
    for spec in LLMS:
        if spec.name == name:
            return spec
    names = [spec.name for spec in LLMS]
    near = get_close_matches(name.lower(), names) or names
    raise BadOption(f'There is no language model "{name}"; did you mean {" or ".join(near)}?')
