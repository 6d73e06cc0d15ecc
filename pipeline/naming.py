"""What the outputs are called, and where they go.

Goes in: a job, its language, and who owns which path. Comes out: one path a format.
Does not know: whether a path exists.

Two sources of one stem never share a path: the first to come has `talk.en.srt`, the next
`talk.mp4.en.srt`, and whoever still clashes (the same name in two folders, written into one)
carries a few letters of a hash of its full path.
"""

from __future__ import annotations

import hashlib
import os
import string
from typing import TYPE_CHECKING

from pipeline.errors import BadOption

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipeline.types import Format, Job

FIELDS = {  # the fields of --name, with what they hold
    "stem": "the media file's name without its last suffix",
    "language": "the language of the text, such as en; und when nothing was said",
    "format": "srt, vtt, txt or json",
    "model": "the model's name",
    "task": "transcribe or translate",
}
UNDETERMINED = "und"  # ISO 639-2 for a language that nobody could tell
MAX_NAME_BYTES = 255  # of ext4, XFS, APFS, NTFS alike


def check_template(template: str, formats: tuple[Format, ...]) -> None:
    """Raise BadOption unless the template names files that can exist and differ by format."""
    try:
        fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError:
        fields = [("", "", None)]
    used = {name for name, _, _ in fields}
    if not used <= FIELDS.keys() or any(spec or conversion for _, spec, conversion in fields):
        known = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise BadOption(f"--name {template!r}: cannot be filled in: the fields are {known}.")
    if not template.endswith(("{format}", *(f".{kind}" for kind in formats))):
        raise BadOption(
            f"--name {template!r}: might be taken for something else: let it end in .{{format}}."
        )
    if len(os.fsencode(template)) > MAX_NAME_BYTES // 2:
        raise BadOption(f"--name {template!r}: leaves no room for the stem: make it shorter.")
    if "/" in template or "\0" in template:
        raise BadOption(
            f"--name {template!r}: a name has no slash: give the folder by --output-dir."
        )
    if "stem" not in used:
        raise BadOption(
            f"--name {template!r}: without {{stem}} all files would share one name: add it."
        )
    if len(formats) > 1 and "format" not in used:
        raise BadOption(
            f"--name {template!r}: several formats would share one name: add {{format}}."
        )


def targets(
    job: Job, language: str, claim: Callable[[Iterable[Path], Path], bool]
) -> dict[Format, Path]:
    """One path a format, all of them this job's own.

    `claim(paths, source)` takes paths for a source, unless one of them is another source's.
    """
    for paths in candidates(job, language):
        if claim(paths.values(), job.source.path):
            return paths
    raise AssertionError("a hash of the full path is unique")


def candidates(job: Job, language: str) -> Iterator[dict[Format, Path]]:
    """The paths that are tried one after another, until they are nobody else's."""
    for stem in stems(job.source.path):
        yield {kind: _path(job, stem, language, kind) for kind in job.output.formats}


def stems(source: Path) -> Iterator[str]:
    """The stems that are tried one after another, until the names are nobody else's."""
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:8]
    yield source.stem
    yield source.name
    yield f"{source.name}.{digest}"


def _path(job: Job, stem: str, language: str, kind: Format) -> Path:
    folder = job.output.output_dir or job.source.path.parent
    return folder / fitted(
        job.output.name,
        stem,
        language=written_language(job, language),
        format=kind,
        model=os.path.basename(job.speech.model),  # noqa: PTH119  - a name or a path
        task=job.speech.task,
    )


def written_language(job: Job, language: str) -> str:
    """The language of the text: Whisper translates into English only."""
    return "en" if job.speech.task == "translate" else language


def fitted(template: str, stem: str, **fields: str) -> str:
    """Fill in the template; a name too long for the file system loses the end of its stem."""
    name = template.format(stem=stem, **fields).replace("/", "_")
    excess_bytes = len(os.fsencode(name)) - MAX_NAME_BYTES
    if excess_bytes <= 0:
        return name
    mark = "~" + hashlib.sha256(os.fsencode(stem)).hexdigest()[:6]
    kept = os.fsencode(stem)[: -(excess_bytes + len(mark))]
    short = kept.decode(errors="ignore") + mark
    return template.format(stem=short, **fields).replace("/", "_")
