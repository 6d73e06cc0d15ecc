"""Values to JSON and back.

Goes in: any noun of `pipeline.types` (not Clip). Comes out: JSON text, and from it an equal value.
Does not know: files. A key that this version does not know is ignored, so newer files can be read.
Paths that are not UTF-8 survive as escaped surrogates, since json writes ASCII.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from cattrs import Converter


@cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter()
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda text, _: Path(text))
    return converter


def dumps(value: object, indent: int | None = None) -> str:
    """JSON text of a value. Raises ValueError on NaN or infinity."""
    plain = _converter().unstructure(value)
    return json.dumps(plain, indent=indent, allow_nan=False)


def loads(text: str | bytes, kind: type[T]) -> T:
    """The value that `dumps` wrote. Raises ValueError if the text is no such value."""
    from cattrs.errors import BaseValidationError

    try:
        plain: Any = json.loads(text)
        return _converter().structure(plain, kind)
    except (BaseValidationError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error
