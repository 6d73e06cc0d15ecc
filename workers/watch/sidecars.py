"""Which subtitles lie beside a media file.

Goes in: the names in one folder. Comes out: for a media file its subtitles, with language and kind.
Does not know: what is in them, who wrote them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.registry import LANGUAGES
from pipeline.iso639 import SHORT_CODES, short_code
from workers.batch import MEDIA_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

# What players read between the media's name and the suffix, parted by dots, from the right: flags
# and a language, in any order; everything else is a title.
# Sources: Jellyfin 10.11, Emby.Naming/Common/NamingOptions.cs and ExternalFiles/ExternalPathParser
# ("hi" is Hindi unless another language stands there); Plex, "Adding local subtitles" (forced, sdh,
# cc; ISO 639-1 or -2); Emby, "Subtitles" (the same); Bazarr writes .en, .pt-BR, .en.forced and, as
# one likes, .en.hi, .en.sdh or .en.cc.
SUFFIXES = frozenset((".srt", ".vtt", ".ass", ".ssa", ".sub"))
_FORCED = frozenset(("forced", "foreign"))
_SDH = frozenset(("sdh", "cc", "hi"))
_LANGUAGES = frozenset(SHORT_CODES) | frozenset(SHORT_CODES.values()) | frozenset(LANGUAGES)
_TAG = re.compile(r"([a-z]{2,3})([-_][a-z0-9]{2,8})*", re.IGNORECASE)  # en, eng, pt-BR, zh-Hans


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A subtitle beside a media file."""

    name: str
    language: str | None  # ISO 639-1 where there is one; None: the name does not say
    is_forced: bool  # only what is spoken in another language, or stands on signs
    is_sdh: bool  # for the deaf and hard of hearing: complete, with sounds


class Subtitles:
    """The subtitles of one folder, by the media that they belong to; its work is done at once.

    A subtitle belongs to the media whose name says most of its own: `Film.2019.en.srt` to
    `Film.2019.mkv` and not to `Film.mkv`, `talk.mp4.en.srt` to `talk.mp4` and not to `talk.mp3`.
    Two media of one stem have their subtitles in common, as in players.
    """

    def __init__(self, names: Iterable[str], suffixes: frozenset[str] = MEDIA_SUFFIXES) -> None:
        subtitles: list[tuple[str, str]] = []  # the name, and the name without its suffix
        media: set[str] = set()  # stems and whole names
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122  - 100 000 Paths take a second
            if suffix.lower() in SUFFIXES:
                subtitles.append((name, stem))
            if suffix.lower() in suffixes:
                media.update((stem, name))
        self._beside: defaultdict[str, list[Sidecar]] = defaultdict(list)
        for name, stem in sorted(subtitles):
            owner = _owner(stem, media)
            if owner is not None:
                self._beside[owner].append(_sidecar(name, stem[len(owner) + 1 :]))

    def beside(self, media_name: str) -> tuple[Sidecar, ...]:
        """The subtitles of a media file, by name."""
        stem, _ = os.path.splitext(media_name)  # noqa: PTH122  - as above
        found = (*self._beside.get(stem, ()), *self._beside.get(media_name, ()))
        return tuple(sorted(found, key=lambda sidecar: sidecar.name))


def _owner(stem: str, media: set[str]) -> str | None:
    """The longest media name that a subtitle's name begins with."""
    while stem not in media:
        stem, dot, _ = stem.rpartition(".")
        if not dot:
            return None
    return stem


def _sidecar(name: str, tags: str) -> Sidecar:
    language: str | None = None
    is_forced = is_sdh = False
    for tag in reversed(tags.split(".")):
        if tag.lower() in _FORCED:
            is_forced = True
        elif is_language(tag) and language in (None, "hi"):
            is_sdh |= language == "hi"  # it stood to the right of the language: a flag
            language = short_code(tag)
        elif tag.lower() in _SDH:
            is_sdh = True
    return Sidecar(name, language, is_forced, is_sdh)


def is_language(tag: str) -> bool:
    """Whether a part of a name is the tag of a language, not a title."""
    found = _TAG.fullmatch(tag)
    return found is not None and found[1].lower() in _LANGUAGES
