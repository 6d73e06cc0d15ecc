"""A complete TextEngine without a model: it answers by the schema, from what it is asked.

It counts tokens, never answers a question that overruns its context, and remembers what it was
asked. A script tells what it does instead, question by question.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from pipeline.errors import TextEngineFailed
from pipeline.types import TextAnswer, TextEngineDescription, TextRequest

_TOKEN = re.compile(r"\w{1,5}|[^\w\s]")
_TEMPLATE_TOKENS = 24
_FENCED = re.compile(r"<(data-[0-9a-f]{10})>\n(.*)\n</\1>", re.DOTALL)
_LINE = re.compile(r"\[(\d+)\] (.*)")
_POINT = re.compile(r"point (\d+): (.*)")
_CHAPTER = re.compile(r"chapter (\d+), from [\d:]+: (.*)")

GARBAGE = 'Sure! Here is what you asked for: {"title": oh no'
WRONG_SCHEMA = '{"answer": 42, "title": ["a", "list"]}'


def tokens_in(text):
    return len(_TOKEN.findall(text))


@dataclass
class ScriptedEngine:
    """Answers each question with what `script` says, else by itself.

    A script gets the number of the question, from 0 on, and the request; it gives a text, a
    TextAnswer, an error to raise, or None.
    """

    context_tokens: int = 8192
    follows_schemas: bool = True
    script: object = None
    asked: list[TextRequest] = field(default_factory=list)
    counted: int = 0

    @property
    def description(self):
        return TextEngineDescription(
            "scripted", "in this test", self.context_tokens, self.follows_schemas, "for a test"
        )

    def count_tokens(self, request):
        self.counted += 1
        return _TEMPLATE_TOKENS + tokens_in(request.system) + tokens_in(request.user)

    def answer(self, request, heed):
        heed()
        used = _TEMPLATE_TOKENS + tokens_in(request.system) + tokens_in(request.user)
        assert used + request.max_answer_tokens <= self.context_tokens, "the context is overrun"
        self.asked.append(request)
        scripted = self.script(len(self.asked) - 1, request) if self.script else None
        if isinstance(scripted, Exception):
            raise scripted
        if isinstance(scripted, TextAnswer):
            return scripted
        text = own_answer(request) if scripted is None else scripted
        return TextAnswer(text, used, tokens_in(text), is_cut=False)


def data_of(request):
    """What stands between the marks of a question."""
    found = _FENCED.search(request.user)
    assert found, "the question has no data between its marks"
    return found[2]


def is_merge(request):
    return "number" in json.loads(request.schema)["properties"]["chapters"]["items"]["properties"]


def own_answer(request):
    """An honest answer: it cites real lines, and chooses real numbers."""
    data = data_of(request)
    return json.dumps(merged(request, data) if is_merge(request) else noted(request, data))


def noted(request, data):
    lines = [(int(second), text) for second, text in _LINE.findall(data)]
    some = lines[:: max(1, len(lines) // 4)][:4]

    def quote(text):
        return " ".join(text.split()[:6])

    answer = {
        "title": f"About {quote(lines[0][1])}",
        "abstract": f"From {lines[0][0]} to {lines[-1][0]}.",
        "points": [
            {"second": second, "quote": quote(text), "text": f"It is said: {text[:60]}"}
            for second, text in some
        ],
        "chapters": [
            {"second": second, "quote": quote(text), "title": f"On {quote(text)}"}
            for second, text in some[::2]
        ],
        "topics": [quote(lines[0][1])],
        "people": [{"name": "Ada", "note": "who speaks"}],
        "terms": [],
        "questions": [],
        "actions": [{**cited(some[0], quote), "text": "Write it down", "who": "Ada", "due": ""}],
    }
    return {key: answer[key] for key in json.loads(request.schema)["properties"]}


def cited(line, quote):
    return {"second": line[0], "quote": quote(line[1])}


def merged(request, data):
    schema = json.loads(request.schema)["properties"]
    points = [int(number) for number, _ in _POINT.findall(data)]
    chapters = [(int(number), title) for number, title in _CHAPTER.findall(data)]
    every = max(1, -(-len(chapters) // schema["chapters"]["maxItems"]))
    return {
        "title": "The whole of it",
        "abstract": f"All of {len(points)} points.",
        "points": points[: schema["points"]["maxItems"]],
        "chapters": [{"number": n, "title": title} for n, title in chapters[::every]],
    }


@dataclass
class Memory:
    """A listener that remembers, and a store for answers."""

    progress: list[tuple[int, int, float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    saved: dict[str, object] = field(default_factory=dict)

    def calls(self, done, total, left_s):
        self.progress.append((done, total, left_s))

    def note(self, text):
        self.notes.append(text)

    def once(self, name, kind, make):
        if name not in self.saved:
            self.saved[name] = make()
        assert isinstance(self.saved[name], kind)
        return self.saved[name]


def failed(words="The server does not answer."):
    return TextEngineFailed(words)
