"""The two ways in which servers are asked to write, and write.

Goes in: a request, then the lines of a reply. Comes out: JSON for the server, then what was
written. Does not know: addresses, connections, retries.

Sources: platform.openai.com/docs/api-reference/chat and …/chat-streaming; llama.cpp,
tools/server/README.md; vLLM, vllm/entrypoints/openai/chat_completion/protocol.py; LM Studio,
lmstudio.ai/docs/developer/openai-compat; Ollama, docs/api.md and ChatRequest in api/types.go.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.text.line import WireFailed
from models.text.wire import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from models.text.servers import Server
    from pipeline.types import TextRequest

Json = dict[str, Any]
SEED = 1  # any: at temperature 0 the likeliest token is taken
# Models that think aloud open with it; some templates write the opening mark themselves.
_THOUGHTS = re.compile(r"\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)\s*", re.DOTALL)
_REST_OF_THOUGHTS = re.compile(r"\s*[^{\[\s](?:(?!<think).)*?</think(?:ing)?>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote."""

    text: str  # without its thoughts
    prompt_tokens: int | None
    answer_tokens: int | None
    is_cut: bool


def openai_question(server: Server, request: TextRequest) -> Json:
    """The body for /v1/chat/completions: as likely as possible, by the schema, in a stream."""
    body: Json = {
        "model": server.model,
        "messages": messages(request),
        "max_tokens": request.max_answer_tokens,
        "temperature": 0,
        "seed": SEED,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if server.takes_template_options:
        body["chat_template_kwargs"] = {"enable_thinking": False}
    if server.keeps_prompts:
        body["cache_prompt"] = False  # the README: a kept prompt may change the answer
    if request.schema is not None and server.follows_schemas:
        schema = {"name": "answer", "strict": True, "schema": json.loads(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def ollama_question(server: Server, request: TextRequest) -> Json:
    """The body for /api/chat: with its context, and an error where Ollama would cut the prompt."""
    body: Json = {
        "model": server.model,
        "messages": messages(request),
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {
            "num_ctx": server.context_tokens,
            "num_predict": request.max_answer_tokens,
            "temperature": 0,
            "seed": SEED,
        },
    }
    if server.think is not None:
        body["think"] = server.think
    if request.schema is not None:
        body["format"] = json.loads(request.schema)
    return body


def messages(request: TextRequest) -> list[Json]:
    """The request as a conversation."""
    said = (("system", request.system), ("user", request.user))
    return [{"role": role, "content": text} for role, text in said if text]


def read_openai(lines: Iterable[bytes]) -> Written:
    """The events of a chat completion, to [DONE]. Raises WireFailed."""
    pieces: list[str] = []
    ending, usage = None, None
    for data in _events(lines):
        if data == b"[DONE]":
            if ending is None:
                break
            return _written(pieces, usage, ("prompt_tokens", "completion_tokens"), ending)
        event = json_object(data)
        usage = event.get("usage") or usage
        for choice in _list(event.get("choices")):
            delta = choice.get("delta")
            pieces.append(_text(delta.get("content") if isinstance(delta, dict) else None))
            ending = choice.get("finish_reason") or ending
    raise WireFailed("broke off in the middle of its answer", may_pass=True)


def read_ollama(lines: Iterable[bytes]) -> Written:
    """The objects of /api/chat, one a line, to the one that is done. Raises WireFailed."""
    pieces: list[str] = []
    for line in lines:
        if not line.strip():
            continue
        event = json_object(line)
        message = event.get("message")
        pieces.append(_text(message.get("content") if isinstance(message, dict) else None))
        if event.get("done") is True:
            ending = event.get("done_reason") or "stop"
            return _written(pieces, event, ("prompt_eval_count", "eval_count"), ending)
    raise WireFailed("broke off in the middle of its answer", may_pass=True)


def _events(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The data of server-sent events; each of these servers puts it on one line."""
    for line in lines:
        field, colon, data = line.partition(b":")
        if field in (b"data", b"error"):  # the latter is llama.cpp's own, before 2025
            yield data.strip()
        elif line.strip() and not colon:
            raise WireFailed("did not answer in a stream of events")


def json_object(data: bytes) -> Json:
    """What a server says. Raises WireFailed for its own errors, and for what is no object."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireFailed("answered with what is no JSON") from error
    if not isinstance(said, dict):
        raise WireFailed("answered with JSON of another kind")
    if said.get("error") or said.get("object") == "error":
        raise WireFailed(f"gave up: {words_of(said) or 'no reason given'}")
    return said


def _list(value: object) -> list[Json]:
    """The objects in a list, if it is one."""
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _written(pieces: list[str], counts: object, names: tuple[str, str], ending: object) -> Written:
    found = counts if isinstance(counts, dict) else {}
    prompt, answer = (_count(found.get(name)) for name in names)
    return Written(without_thoughts("".join(pieces)), prompt, answer, ending == "length")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def without_thoughts(text: str) -> str:
    """The answer alone; empty when it thought to its end."""
    found = _THOUGHTS.match(text) or _REST_OF_THOUGHTS.match(text)
    return text[found.end() :].strip() if found else text.strip()
