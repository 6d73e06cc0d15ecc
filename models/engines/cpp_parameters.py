"""What whisper.cpp is told for one decoding.

Goes in: options, a temperature, and what is known of the model. Comes out: whisper.cpp's own
parameters. Does not know: sound, results. Line numbers are of whisper.cpp 1.8.5.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from models.ggml import encoding_of
from models.registry import ENGLISH_ONLY_VOCAB
from pipeline.errors import BadOption

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from models.registry import Dimensions
    from pipeline.types import SpeechOptions

MOST_DECODERS = 8  # WHISPER_MAX_DECODERS
DISTILLED_LAYERS = 2  # of text: whisper.cpp then decodes without timestamps


def parameters(
    library: ModuleType, dimensions: Dimensions, options: SpeechOptions, temperature: float
) -> Any:
    """One decoding at one temperature; what is not set stays as whisper.cpp and whisper have it.

    Raises BadOption.
    """
    beams = options.beam_size if temperature == 0 else 1
    candidates = options.best_of if temperature > 0 else 1
    if max(beams, candidates) > MOST_DECODERS:
        raise BadOption(
            f"whisper.cpp follows at most {MOST_DECODERS} candidates at once; "
            "give a smaller --beam-size or --best-of."
        )
    prompt = _prompt(options.initial_prompt, dimensions)
    silent = options.no_speech_limit if _knows_silence(dimensions, prompt) else None
    unsure = options.log_probability_limit
    settings = {
        "print_progress": False,
        "language": options.language or "en",
        "translate": options.task == "translate",
        "suppress_nst": True,  # signs that nobody says, as whisper does
        "greedy": {"best_of": candidates},
        "beam_search": {"beam_size": beams, "patience": -1.0},
        # one temperature; whether it satisfies is not judged here
        "temperature": temperature,
        "temperature_inc": 0.0,
        "entropy_thold": -inf,
        # nothing was said if both limits say so; without the second the first is enough
        "no_speech_thold": inf if silent is None else silent,
        "logprob_thold": inf if unsure is None else unsure,
        # the prompt in every round, and room for nothing else
        "carry_initial_prompt": True,
        "n_max_text_ctx": len(prompt) + 1 if prompt else 0,
    }
    told = defaults(library, beams)
    told.set_prompt_tokens(prompt)
    for name, value in settings.items():
        setattr(told, name, value)
    return told


def defaults(library: ModuleType, beams: int = 1) -> Any:
    """What whisper.cpp does by itself, with so many beams."""
    strategies = library.whisper_sampling_strategy
    greedy, beam = strategies.WHISPER_SAMPLING_GREEDY, strategies.WHISPER_SAMPLING_BEAM_SEARCH
    return library.whisper_full_default_params(beam if beams > 1 else greedy)


def _prompt(text: str | None, dimensions: Dimensions) -> list[int]:
    """The last tokens of a prompt, as whisper cuts it.

    whisper.cpp would cut words in another way, and overflow the stack on a very long one.
    """
    if not text:
        return []
    tokens = encoding_of(dimensions).encode(" " + text.strip().replace("<|", "< |"))
    return tokens[-(dimensions.n_text_ctx // 2 - 1) :]


def _knows_silence(dimensions: Dimensions, prompt: Sequence[int]) -> bool:
    """Whether whisper.cpp can tell how likely silence is.

    It looks at the first token's logits, but fills in the last one's (whisper.cpp:2950, 7165). So
    decoding must begin with one token: no prompt, no language, no `<|notimestamps|>`. Elsewhere it
    sees what the call before has left, perhaps of another clip.
    """
    english = dimensions.n_vocab <= ENGLISH_ONLY_VOCAB
    return english and dimensions.n_text_layer != DISTILLED_LAYERS and not prompt
