"""Which server answers, what model it has, how much that reads at once.

Goes in: an address. Comes out: the server, found out by asking. Does not know: prompts, answers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from models.text.line import Question, WireFailed
from models.text.wire import Patience, Reply, ask
from pipeline.errors import ModelUnavailable, TextEngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.text.address import Address

    Get = Callable[..., Any]  # (path, body=None) -> JSON; None: there is none there

# How tokens are counted: llama.cpp's /v1/chat/completions/input_tokens; its older /apply-template
# and /tokenize; vLLM's /tokenize of messages; by samples, where a server says how much it read of a
# question and refuses or reports what does not fit; not at all, so that bytes are an upper bound.
Counter = Literal["input_tokens", "template", "messages", "samples", "bytes"]

ASSUMED_TOKENS = 4096  # where a server does not say: what Ollama and LM Studio give by default
OLLAMA_TOKENS = 16_384  # asked of Ollama unless told otherwise: 2 GiB of cache for a model of 8 B
# Ollama's first with schemas. Much older ones count only what they did not have in memory already.
_COUNTS_SINCE = (0, 5)
_LEVELS = ("none", "minimal", "low", "medium", "high")  # of thinking, the least first
_ALWAYS_THINKS = ("gptoss", "gpt-oss")  # architectures that a plain false does not stop
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_SAMPLE = [{"role": "user", "content": "one"}]
Think = bool | str | None


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the model that it is asked for."""

    kind: str  # as people call it
    model: str  # as it calls it
    context_tokens: int
    counter: Counter
    reason: str  # why so many tokens of context
    is_ollama: bool = False  # it has an API of its own
    takes_template_options: bool = False
    keeps_prompts: bool = False
    follows_schemas: bool = True  # while it writes
    think: Think = None  # what Ollama is told; None: nothing, since the model does not know how


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one program is recognised."""

    name: str
    path: str  # that is asked
    is_it: Callable[[Any], bool]  # what it says there
    look: Callable[[Get, Any, str | None, int | None], Server]  # with model and tokens wished for


def identify(
    address: Address, context_tokens: int | None, patience: Patience, heed: Callable[[], None]
) -> Server:
    """Ask who is there.

    `context_tokens` is the most that is wished for. Raises TextEngineFailed, ModelUnavailable.
    """

    def get(path: str, body: object = None) -> Any:
        return _json(address, Question(path, body), patience, heed)

    try:
        for kind in _KINDS:
            said = get(kind.path)
            if kind.is_it(said):
                return kind.look(get, said, address.model, context_tokens)
    except WireFailed as error:
        raise TextEngineFailed(
            f"The language model's server at {address} {error}: start it, or check --llm"
            f"{' and TRANSCRIBE_LLM_KEY' if error.status in _REFUSED else ''}."
        ) from error
    raise TextEngineFailed(
        f"What answers at {address} is no server of language models that is known here: check "
        "--llm; llama.cpp's server, Ollama, vLLM and LM Studio are."
    )


def _json(
    address: Address, question: Question, patience: Patience, heed: Callable[[], None]
) -> Any:
    """What it says; None for what it does not know. LM Studio says so with HTTP 200."""
    try:
        body = ask(address, question, _whole, patience, heed)
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
    except WireFailed as error:
        is_unknown = error.status >= HTTPStatus.BAD_REQUEST and error.status not in _REFUSED
        if is_unknown and not error.may_pass:
            return None
        raise


def _whole(reply: Reply) -> bytes:
    return b"\n".join(reply.lines())


def _dig(said: Any, *keys: str) -> Any:
    """What lies under the keys; None where one is missing."""
    for key in keys:
        said = said.get(key) if isinstance(said, dict) else None
    return said


def _objects(said: Any, key: str) -> list[dict[str, Any]]:
    found = _dig(said, key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _tokens(value: object) -> int | None:
    """A context, if it is one."""
    return value if isinstance(value, int) and value > 0 else None


def _least(*values: int | None) -> int:
    return min(value for value in values if value is not None)


def _named(models: list[dict[str, Any]], key: str, wish: str | None, server: str) -> dict[str, Any]:
    """The model that is wished for, or the only one. Raises ModelUnavailable."""
    names = [str(each.get(key)) for each in models]
    for model in models:
        if model.get(key) == wish or (wish and model.get(key) == f"{wish}:latest"):
            return model
    if wish is None and len(models) == 1:
        return models[0]
    if not models:
        raise ModelUnavailable(f"{server} has no language model yet: give it one first.")
    lacking = f"has no model {wish}" if wish else "has several models"
    raise ModelUnavailable(
        f"{server} {lacking}: name one behind the address, such as --llm http://…#{names[0]}; "
        f"it has {', '.join(names[:20])}."
    )


def _llama_cpp(get: Get, said: Any, wish: str | None, tokens: int | None) -> Server:
    """`n_ctx` is what one question gets, however many the server answers at once."""
    has = _tokens(_dig(said, "default_generation_settings", "n_ctx"))
    name = str(_dig(said, "model_alias") or _dig(said, "model_path") or "unnamed")
    if name.endswith(".gguf"):  # the alias of whoever gave none is the path
        name = name.rpartition("/")[2]
    counted = get("/v1/chat/completions/input_tokens", {"messages": _SAMPLE})
    counter: Counter = "input_tokens" if _tokens(_dig(counted, "input_tokens")) else "template"
    reason = "as it was started" if has else "it does not say more"
    context = _least(has or ASSUMED_TOKENS, tokens)
    return Server(
        *("llama.cpp", wish or name, context, counter, reason),
        takes_template_options=True,
        keeps_prompts=True,
    )


def _ollama(get: Get, said: Any, wish: str | None, tokens: int | None) -> Server:
    """The context is ours to choose, up to the model's own."""
    running = _objects(get("/api/ps"), "models")
    there = running if wish is None and len(running) == 1 else _objects(get("/api/tags"), "models")
    model = str(_named(there, "name", wish, "Ollama").get("name"))
    shown = get("/api/show", {"model": model})
    architecture = _dig(shown, "model_info", "general.architecture")
    own = _tokens(_dig(shown, "model_info", f"{architecture}.context_length"))
    asked = tokens or OLLAMA_TOKENS
    context = _least(own or ASSUMED_TOKENS, asked)
    reason = "asked for with each request" if context == asked else "the model has no more"
    counter: Counter = "samples" if _version(said) >= _COUNTS_SINCE else "bytes"
    think = _thinking(shown, architecture)
    return Server("Ollama", model, context, counter, reason, is_ollama=True, think=think)


def _version(said: Any) -> tuple[int, ...]:
    """(0, 12) of 0.12.6-rc1; what is no version is before all others, as a developer's 0.0.0 is."""
    parts = str(_dig(said, "version")).split(".")[:2]
    return tuple(int(part) if part.isdecimal() else 0 for part in parts)


def _thinking(shown: Any, architecture: object) -> Think:
    """The least that the model can be told to think; models that cannot think refuse the field."""
    values = _dig(shown, "thinking", "values")
    if isinstance(values, list) and values:
        levels = [value for value in values if isinstance(value, str)]
        known = [level for level in _LEVELS if level in levels]
        return False if False in values or not levels else (known or levels)[0]
    if "thinking" not in (_dig(shown, "capabilities") or ()):
        return None
    return "low" if architecture in _ALWAYS_THINKS else False


def _lm_studio(_get: Get, said: Any, wish: str | None, tokens: int | None) -> Server:
    """A model that is not loaded is loaded when it is asked, with LM Studio's default context."""
    models = [each for each in _objects(said, "data") if each.get("type") != "embeddings"]
    loaded = [each for each in models if each.get("state") == "loaded"]
    model = _named(loaded if loaded and wish is None else models, "id", wish, "LM Studio")
    has = _tokens(model.get("loaded_context_length"))
    reason = "as it was loaded" if has else "it is not loaded yet"
    most = has or _least(ASSUMED_TOKENS, _tokens(model.get("max_context_length")))
    return Server("LM Studio", str(model.get("id")), _least(most, tokens), "bytes", reason)


def _vllm(get: Get, said: Any, wish: str | None, tokens: int | None) -> Server:
    model = _named(_objects(said, "data"), "id", wish, "vLLM")
    name, has = str(model.get("id")), _tokens(model.get("max_model_len"))
    counted = get("/tokenize", {"model": name, "messages": _SAMPLE})
    counter: Counter = "messages" if _tokens(_dig(counted, "count")) else "bytes"
    context = _least(has or ASSUMED_TOKENS, tokens)
    return Server("vLLM", name, context, counter, "as it was started", takes_template_options=True)


def _other(_get: Get, said: Any, wish: str | None, tokens: int | None) -> Server:
    model = _named(_objects(said, "data"), "id", wish, "The server")
    reason = "as was asked for" if tokens else "it does not say more"
    name, context = str(model.get("id")), tokens or ASSUMED_TOKENS
    return Server("OpenAI's API", name, context, "bytes", reason, follows_schemas=False)


# Order matters: llama.cpp has a bit of Ollama's API, and all have /v1/models. LM Studio, and what
# nobody knows, may cut a question and not say so: for these, bytes alone are sure. Sources:
# llama.cpp, tools/server/README.md (GET /props); Ollama, docs/api.md (GET /api/version, POST
# /api/show, GET /api/ps and /api/tags), docs/capabilities/thinking.mdx ("thinking" in /api/show);
# LM Studio, lmstudio.ai/docs/developer/rest/endpoints (GET /api/v0/models,
# loaded_context_length since 0.3.9); vLLM, ModelCard in vllm/entrypoints/openai/models/protocol.py
# and vllm/entrypoints/serve/tokenize/protocol.py.
_KINDS = (
    _Kind(
        "llama.cpp",
        "/props",
        lambda said: _dig(said, "default_generation_settings") is not None,
        _llama_cpp,
    ),
    _Kind("Ollama", "/api/version", lambda said: isinstance(_dig(said, "version"), str), _ollama),
    _Kind(
        "LM Studio",
        "/api/v0/models",
        lambda said: any("state" in each for each in _objects(said, "data")),
        _lm_studio,
    ),
    _Kind(
        "vLLM",
        "/v1/models",
        lambda said: any(_tokens(each.get("max_model_len")) for each in _objects(said, "data")),
        _vllm,
    ),
    _Kind("OpenAI's API", "/v1/models", lambda said: _dig(said, "data") is not None, _other),
)
