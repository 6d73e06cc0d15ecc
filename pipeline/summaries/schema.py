"""What an answer must look like.

Goes in: which lists are wanted. Comes out: a JSON Schema, and the same as a model reads it easily.
Does not know: prompts, what answers are used for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.summaries.styles import ListName

MAX_ITEMS = 12  # in any list of an answer

_TEXT: dict[str, object] = {"type": "string"}
_NUMBER: dict[str, object] = {"type": "integer"}


def _object(**properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(of: dict[str, Any], most: int = MAX_ITEMS) -> dict[str, object]:
    return {"type": "array", "items": of, "maxItems": most}


_NAMED = _object(name=_TEXT, note=_TEXT)
_LISTS: dict[ListName, dict[str, object]] = {
    "topics": _TEXT,
    "people": _NAMED,
    "terms": _NAMED,
    "questions": _TEXT,
    "actions": _object(second=_NUMBER, quote=_TEXT, text=_TEXT, who=_TEXT, due=_TEXT),
}


def part_schema(lists: tuple[ListName, ...]) -> str:
    """The JSON Schema of a part's answer. No lengths: grammars made of them are slow."""
    return json.dumps(
        _object(
            title=_TEXT,
            abstract=_TEXT,
            points=_list(_object(second=_NUMBER, quote=_TEXT, text=_TEXT)),
            chapters=_list(_object(second=_NUMBER, quote=_TEXT, title=_TEXT)),
            **{name: _list(_LISTS[name]) for name in lists},
        )
    )


def merge_schema(most_points: int, most_chapters: int) -> str:
    """The JSON Schema of a merge's answer."""
    return json.dumps(
        _object(
            title=_TEXT,
            abstract=_TEXT,
            points=_list(_NUMBER, most_points),
            chapters=_list(_object(number=_NUMBER, title=_TEXT), most_chapters),
        )
    )


def shape(schema: str) -> str:
    """A schema as a model reads it easily: the object with a word for each value."""

    def shown(node: dict[str, Any]) -> str:
        if node["type"] == "object":
            inner = ", ".join(f'"{key}": {shown(one)}' for key, one in node["properties"].items())
            return f"{{{inner}}}"
        if node["type"] == "array":
            return f"[{shown(node['items'])}, ...]"
        return "0" if node["type"] == "integer" else '"..."'

    return shown(json.loads(schema))
