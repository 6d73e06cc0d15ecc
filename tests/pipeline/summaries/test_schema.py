"""What an answer must look like."""

from __future__ import annotations

import json

from pipeline.summaries.schema import merge_schema, part_schema, shape
from pipeline.summaries.styles import LISTS

ALL = ["title", "abstract", "points", "chapters", *LISTS]


def test_schemas_ask_for_all_that_is_read():
    schema = json.loads(part_schema(LISTS))
    assert schema["required"] == ALL
    assert set(json.loads(part_schema(("topics",)))["properties"]) == {
        "title", "abstract", "points", "chapters", "topics",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    merge = json.loads(merge_schema(7, 5))["properties"]
    assert (merge["points"]["maxItems"], merge["chapters"]["maxItems"]) == (7, 5)


def test_a_shape_is_json_but_for_its_dots():
    text = shape(part_schema(LISTS)).replace(", ...]", "]")
    assert set(json.loads(text)) == set(ALL)
