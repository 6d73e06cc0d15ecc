"""A language model behind an address, as a `pipeline.protocols.TextEngine`.

Goes in: an address, then requests. Comes out: answers, and how many tokens a request takes.
Does not know: what is asked, how a connection is watched, who runs the server.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from models.text import dialects
from models.text.line import Question, WireFailed
from models.text.servers import Server, identify
from models.text.wire import Patience, Reply, ask
from pipeline.errors import OutOfMemory, TextEngineFailed
from pipeline.types import TextAnswer, TextEngineDescription

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.text.address import Address
    from models.text.dialects import Json, Written
    from pipeline.types import TextRequest

# A token spells one byte at least, whatever the tokenizer; templates that are known add up to 40
# tokens for two messages, and some write the date or a sentence of their own.
_TEMPLATE_TOKENS = 128
_QUICK_S = 60.0  # a count is no thinking
_STREAMS = ("text/event-stream", "application/x-ndjson")
# How servers say that a model does not fit: Ollama (server/sched.go), llama.cpp, vLLM.
_SHORTAGE = (
    "requires more system memory",
    "out of memory",
    "failed to allocate",
    "unable to alloc",
)
_T = TypeVar("_T")


def nothing() -> None:
    """What is done while nobody wants anything."""


def connect(
    address: Address,
    context_tokens: int | None = None,
    patience: Patience | None = None,
    heed: Callable[[], None] = nothing,
) -> ChatEngine:
    """The engine at an address, once it has said who it is.

    Raises TextEngineFailed, ModelUnavailable.
    """
    patience = patience or Patience()
    server = identify(address, context_tokens, _quick(patience), heed)
    return ChatEngine(address, server, patience, heed)


class ChatEngine:
    """Asks a server, for any number of threads."""

    def __init__(
        self, address: Address, server: Server, patience: Patience, heed: Callable[[], None]
    ) -> None:
        self._address = address
        self._server = server
        self._patience = patience
        self._heed = heed

    @property
    def description(self) -> TextEngineDescription:
        """The server's model."""
        server = self._server
        counted = "upper bound" if server.counter == "bytes" else "counted by its own tokenizer"
        return TextEngineDescription(
            server.model,
            str(self._address),
            server.context_tokens,
            follows_schemas=server.follows_schemas,
            reason=f"{server.model} on {server.kind} at {self._address}: {server.context_tokens} "
            f"tokens of context ({server.reason}; {counted})",
        )

    def count_tokens(self, request: TextRequest) -> int:
        """By the server's own tokenizer, or one for each byte and some for the template."""
        if self._server.counter == "bytes":
            return _most_tokens(request)
        with_schema = replace(request, max_answer_tokens=1)
        body = dialects.openai_question(self._server, with_schema)
        if self._server.counter == "input_tokens":
            return self._count("/v1/chat/completions/input_tokens", body, "input_tokens")
        if self._server.counter == "messages":
            kept = {key: body[key] for key in ("model", "messages", "chat_template_kwargs")}
            return self._count("/tokenize", kept, "count")
        templated = self._quickly("/apply-template", body).get("prompt")
        question = {"content": templated, "add_special": True, "parse_special": True}
        return self._count("/tokenize", question, "tokens")

    def answer(self, request: TextRequest, heed: Callable[[], None]) -> TextAnswer:
        """What the server's model writes."""
        self._refuse_too_long(request)
        if self._server.is_ollama:
            question = Question("/api/chat", dialects.ollama_question(self._server, request))
            read = dialects.read_ollama
        else:
            body = dialects.openai_question(self._server, request)
            question = Question("/v1/chat/completions", body)
            read = dialects.read_openai

        def stream(reply: Reply) -> Written:
            if reply.content_type not in _STREAMS:
                raise WireFailed(f"answered with {reply.content_type or 'something'}, no stream")
            return read(reply.lines())

        written = self._asked(question, stream, self._patience, heed)
        if not written.text:
            why = ": it thought until its room was used up" if written.is_cut else ""
            raise TextEngineFailed(
                f"The language model at {self._address} gave an empty answer{why}; try again, or "
                "take another model."
            )
        return TextAnswer(
            written.text, written.prompt_tokens, written.answer_tokens, written.is_cut
        )

    def _refuse_too_long(self, request: TextRequest) -> None:
        """Others refuse it themselves; those that cannot count might cut it silently."""
        room = self._server.context_tokens - request.max_answer_tokens
        if self._server.counter == "bytes" and _most_tokens(request) > room:
            raise TextEngineFailed(
                f"A question of up to {_most_tokens(request)} tokens may not fit into the "
                f"{self._server.context_tokens} of {self._server.model}, with "
                f"{request.max_answer_tokens} for its answer: ask for less at once."
            )

    def _count(self, path: str, body: Json, key: str) -> int:
        counted = self._quickly(path, body).get(key)
        if isinstance(counted, list):  # llama.cpp's /tokenize gives the tokens themselves
            return len(counted)
        if isinstance(counted, int) and counted > 0:
            return counted
        raise TextEngineFailed(f"The server at {self._address} does not count tokens: update it.")

    def _quickly(self, path: str, body: Json) -> Json:
        """The JSON object that it answers."""

        def read(reply: Reply) -> Json:
            return dialects.json_object(b"\n".join(reply.lines()))

        return self._asked(Question(path, body), read, _quick(self._patience), self._heed)

    def _asked(
        self,
        question: Question,
        read: Callable[[Reply], _T],
        patience: Patience,
        heed: Callable[[], None],
    ) -> _T:
        try:
            return ask(self._address, question, read, patience, heed)
        except WireFailed as error:
            if any(words in str(error).lower() for words in _SHORTAGE):
                raise OutOfMemory(
                    f"{self._server.model} does not fit into the memory at {self._address} "
                    f"({error}): take a smaller model or context, or close other programs."
                ) from error
            raise TextEngineFailed(
                f"The language model at {self._address} {error}; try again later, or name another "
                "with --llm."
            ) from error


def _quick(patience: Patience) -> Patience:
    """For what a server answers without a model's thinking."""
    return replace(
        patience,
        silence_s=min(patience.silence_s, _QUICK_S),
        total_s=min(patience.total_s, _QUICK_S),
    )


def _most_tokens(request: TextRequest) -> int:
    """Never fewer than it takes."""
    texts = (request.system, request.user)
    return sum(len(text.encode(errors="replace")) for text in texts) + _TEMPLATE_TOKENS
