"""A language model behind an address, as a `pipeline.protocols.TextEngine`.

Goes in: an address, then requests. Comes out: answers, and how many tokens a request takes.
Does not know: what is asked, how a connection is watched, who runs the server.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from models.text import dialects
from models.text.density import Densities, most_tokens
from models.text.line import Question, WireFailed
from models.text.servers import Server, identify
from models.text.wire import Patience, Reply, ask
from pipeline.errors import OutOfMemory, QuestionTooLong, TextEngineFailed
from pipeline.types import TextAnswer, TextEngineDescription, TextRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.text.address import Address
    from models.text.dialects import Json, Written
    from models.text.servers import Counter

_QUICK_S = 60.0  # a count is no thinking
_STREAMS = ("text/event-stream", "application/x-ndjson")
# How servers say that a model does not fit: Ollama (server/sched.go), llama.cpp, vLLM.
_SHORTAGE = (
    "requires more system memory",
    "out of memory",
    "failed to allocate",
    "unable to alloc",
)
# How they say that a question does not fit: Ollama's two runners (runner/ollamarunner/runner.go and
# llm/llama_server.go), llama.cpp, vLLM.
_TOO_LONG = (
    "exceeds the context length",
    "longer than the context length",
    "exceeds the available context size",
    "maximum context length",
)
_HOW_COUNTED: dict[Counter, str] = {
    "samples": "estimated by samples that it reads, and checked by what it says it read",
    "bytes": "a token a byte, an upper bound",
}
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
        self._densities = Densities(server.context_tokens, self._tokens_in)

    @property
    def description(self) -> TextEngineDescription:
        """The server's model."""
        server = self._server
        counted = _HOW_COUNTED.get(server.counter, "counted by its own tokenizer")
        return TextEngineDescription(
            server.model,
            str(self._address),
            server.context_tokens,
            follows_schemas=server.follows_schemas,
            reason=f"{server.model} on {server.kind} at {self._address}: {server.context_tokens} "
            f"tokens of context ({server.reason}; tokens: {counted})",
        )

    def count_tokens(self, request: TextRequest) -> int:
        """By the server's own tokenizer, by samples, or one a byte and some for the template."""
        if self._server.counter == "bytes":
            return most_tokens(request)
        if self._server.counter == "samples":
            return self._densities.tokens(request)
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
        """What the server's model writes. Raises QuestionTooLong, also where it was cut."""
        self._refuse_too_long(request)
        written = self._written(request, heed)
        self._refuse_unread(request, written)
        if not written.text:
            why = ": it thought until its room was used up" if written.is_cut else ""
            raise TextEngineFailed(
                f"The language model at {self._address} gave an empty answer{why}; try again, or "
                "take another model."
            )
        return TextAnswer(
            written.text, written.prompt_tokens, written.answer_tokens, written.is_cut
        )

    def _written(self, request: TextRequest, heed: Callable[[], None]) -> Written:
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

        return self._asked(question, stream, self._patience, heed)

    def _tokens_in(self, sample: str) -> int | None:
        """As the server counts them when it reads them; its template's are among them."""
        one_word = TextRequest("", sample, max_answer_tokens=1)
        return self._written(one_word, self._heed).prompt_tokens

    def _refuse_too_long(self, request: TextRequest) -> None:
        """Others refuse it themselves; those that do not count might cut it silently."""
        most = most_tokens(request)
        if self._server.counter == "bytes" and most > self._room_tokens(request):
            raise self._too_long(request, f"it may take {most} tokens")

    def _refuse_unread(self, request: TextRequest, written: Written) -> None:
        """Estimates are no proof, and Ollama before 0.12 cuts what does not fit and says nothing.

        What it says is how much it read: all of its context then, or no more than the end of it.
        """
        if self._server.counter != "samples":
            return
        room, read = self._room_tokens(request), written.prompt_tokens
        if read is None and most_tokens(request) > room:
            raise self._too_long(request, "it was not told how much of it was read")
        if read is None:
            return
        if read > room or not self._densities.can_be_all(request, read):
            raise self._too_long(request, f"{read} tokens of it were read")

    def _room_tokens(self, request: TextRequest) -> int:
        return self._server.context_tokens - request.max_answer_tokens

    def _too_long(self, request: TextRequest, why: str) -> QuestionTooLong:
        server = self._server
        return QuestionTooLong(
            f"A question may not fit into the {server.context_tokens} tokens of {server.model}, "
            f"with {request.max_answer_tokens} for its answer ({why}): ask for less at once, or "
            "choose a larger context."
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
            said = str(error).lower()
            if any(words in said for words in _TOO_LONG):
                raise QuestionTooLong(
                    f"A question does not fit into the {self._server.context_tokens} tokens of "
                    f"{self._server.model} ({error}): ask for less at once, or choose a larger "
                    "context."
                ) from error
            if any(words in said for words in _SHORTAGE):
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
