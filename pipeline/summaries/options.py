"""What is wanted of a summary.

Goes in: nothing. Comes out: frozen values. Does not know: how a summary is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SummaryFormat = Literal["md", "json", "chapters.json", "chapters.vtt", "ffmetadata"]


@dataclass(frozen=True, slots=True)
class SummaryOptions:
    """Everything that can change a summary."""

    llm: str | None = None  # a name, a GGUF file, a server; "none": extractive; None: what is there
    style: str = "general"  # a name in prompts/, or a file of the user's own
    language: str | None = None  # of the summary, as an ISO 639-1 code; None: the transcript's
    glossary: tuple[str, ...] = ()  # names and terms as they are to be spelt
    formats: tuple[SummaryFormat, ...] = ("md", "json", "chapters.json")
