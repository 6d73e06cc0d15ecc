"""Ollama with a tokenizer of its own, so that what it takes and what was estimated differ.

What it does with a question that does not fit is as in ollama/ollama: since the end of 2025
`truncate: false` makes it refuse (runner/ollamarunner/runner.go; llm/llama_server.go passes on what
llama.cpp's server says); before, it kept the end of the question, as much as the context holds, and
said nothing.
"""

from __future__ import annotations

import json
import re

from pipeline.types import TextRequest
from tests.models.text.llm_server import Said, objects, ollama
from tests.pipeline.summaries.scripted_engine import own_answer

_PIECE = re.compile(r"[a-zA-Z]{1,5}|[^\sa-zA-Z]")
TEMPLATE_TOKENS = 24
CHAT = "POST /api/chat"
REFUSALS = (
    "the input length exceeds the context length",
    "request (20480 tokens) exceeds the available context size (16384 tokens), try increasing it",
    "the prompt is longer than the context length currently available to the model; shorten it",
)


def tokens_in(text):
    """Up to five letters of English are one; of other scripts, it knows bytes only."""
    pieces = _PIECE.findall(text)
    return sum(1 if piece.isascii() else len(piece.encode()) for piece in pieces)


def tokens_of(body):
    return TEMPLATE_TOKENS + sum(tokens_in(message["content"]) for message in body["messages"])


def request_of(body):
    """The question that a body holds."""
    system, user = (message["content"] for message in body["messages"])
    return TextRequest(system, user, body["options"]["num_predict"], json.dumps(body["format"]))


def is_sample(body):
    """Whether it is only to be counted."""
    return body["options"]["num_predict"] == 1


def answers(body):
    """An honest answer, or the one word that a sample may have."""
    return "The" if is_sample(body) else own_answer(request_of(body))


def reading_ollama(answer=answers, *, refusal=REFUSALS[0], counts=True, limit=None, **settings):
    """`refusal` None: it cuts silently; `limit`: so much it reads, whatever it is asked to."""
    routes, unknown = ollama(**settings)

    def chat(body):
        read, context = tokens_of(body), limit or body["options"]["num_ctx"]
        if read > context:
            if refusal and body["truncate"] is False:
                return Said({"error": refusal}, status=400)
            read = context
        return objects(answer(body), read=read if counts else None)

    return routes | {CHAT: chat}, unknown
