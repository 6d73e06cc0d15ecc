"""Brings one file into a folder, whole and verified or not at all.

Goes in: what the file is called, where it is published, its SHA-256. Comes out: its path.
Does not know: what is in it, how HTTP works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from models.digest import remember, sha256_of
from models.download import IN_BETWEEN, Undelivered, download, host_of
from models.part import Part, open_part
from pipeline.errors import BadOption, ModelUnavailable, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Progress = Callable[[int, int], None]  # bytes that are there, bytes in all; may start anew
Note = Callable[[str], None]
_COPIED_BYTES = 1 << 20  # at once


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that somebody publishes."""

    name: str  # of the model, as people say it: "small"
    url: str
    sha256: str | None  # None: not known, what comes is taken
    file_bytes: int | None  # None: as many as the server says
    file_name: str  # on this machine, and on a mirror


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How the network may be used."""

    mirror: str | None = None  # a server that has the files under this address and their names
    offline: bool = False  # no connection is made
    stall_s: float = 30.0  # a server that is silent for so long is gone
    # Waits before the next connection, after one that brought nothing new; then it is given up.
    pauses_s: tuple[float, ...] = (0.5, 1, 2, 4, 8, 16, 32)
    first_pauses_s: tuple[float, ...] = (0.5, 1)  # while nothing at all has come: no network here?

    def __post_init__(self) -> None:
        """Raises BadOption."""
        if self.mirror is not None and not _is_address(self.mirror):
            raise BadOption(
                f"The mirror {self.mirror} (TRANSCRIBE_MODEL_URL) is no address of a server: "
                "give one that begins with https:// or http://."
            )


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on this machine."""

    path: Path
    sha256: str


def fetch(
    file: RemoteFile, folder: Path, options: FetchOptions, note: Note, progress: Progress
) -> Fetched:
    """The file in the folder, downloaded unless it is there; two processes make one download.

    Raises ModelUnavailable, StorageFailed.
    """
    target = folder / file.file_name
    found = _at_hand(file, target)
    if found is not None:
        return found
    lacking = _lacking(file, target)
    if options.offline:
        what = f"{lacking[0].upper()}{lacking[1:]}, and TRANSCRIBE_OFFLINE forbids to download it"
        raise _unavailable(file, f"{what}: allow that")
    note(f"{lacking}; downloading it once into {folder}")
    return _made(file, target, note, lambda part: _download(file, part, options, note, progress))


def import_from(
    file: RemoteFile, source: Path, folder: Path, note: Note, progress: Progress
) -> Fetched:
    """The file in the folder, copied unless it is there; the source is never changed.

    `source` is the file, or a folder that has it under its name. Raises ModelUnavailable,
    StorageFailed.
    """
    target = folder / file.file_name
    found = _at_hand(file, target)
    if found is not None:
        note(f"{target} is there already")
        return found
    source = _source_file(file, source)
    return _made(file, target, note, lambda part: _copy(file, source, part, progress))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # brackets or a port that are none
        return False
    return parts.scheme in ("http", "https") and parts.hostname is not None


def _at_hand(file: RemoteFile, target: Path) -> Fetched | None:
    """The file, if it is there and is the right one."""
    try:
        sha256 = sha256_of(target) if target.is_file() else None
    except OSError as error:
        raise ModelUnavailable(
            f"{target} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if sha256 is None or file.sha256 not in (None, sha256):
        return None
    return Fetched(target, sha256)


def _lacking(file: RemoteFile, target: Path) -> str:
    if target.is_file():
        return f"{target} is damaged or not what was published (its SHA-256 differs)"
    return f"the model {file.name} is not on this machine"


def _made(file: RemoteFile, target: Path, note: Note, fill: Callable[[Part], None]) -> Fetched:
    """The file under its name, once `fill` has put the right bytes into its part.

    Every OSError in here is the disk's.
    """

    def tell_to_wait() -> None:
        note(f"another process is fetching {file.name}; waiting for it")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_part(target, tell_to_wait) as part:
            found = _at_hand(file, target)  # the other process may have brought it
            if found is not None:
                part.restart()
                return found
            fill(part)
            kept = part.publish()
            if kept is not None:
                note(f"the file that was there before is kept as {kept}")
            remember(target, part.sha256)
            return Fetched(target, part.sha256)
    except OSError as error:
        raise StorageFailed(
            f"The model {file.name} cannot be stored in {target.parent} "
            f"({error.strerror or error}); make room there or allow writing."
        ) from error


def _download(
    file: RemoteFile, part: Part, options: FetchOptions, note: Note, progress: Progress
) -> None:
    url = file.url
    if options.mirror is not None:
        url = f"{options.mirror.rstrip('/')}/{file.file_name}"
    try:
        _fill(file, url, part, options, note, progress)
    except Undelivered as error:
        raise _unavailable(
            file,
            f"The model {file.name} could not be downloaded from {host_of(url)} ({error}): connect "
            "to the internet and try again",
        ) from error


def _fill(
    file: RemoteFile, url: str, part: Part, options: FetchOptions, note: Note, progress: Progress
) -> None:
    """The right bytes; pieces that do not belong together are loaded anew, once."""
    download(file, url, part, options, note, progress)
    if part.is_pieced and not _is_right(file, part):
        note(f"the pieces of {file.name} do not belong together; downloading it anew")
        part.restart()
        download(file, url, part, options, note, progress)
    if not _is_right(file, part):
        wrong = part.sha256
        part.restart()
        raise Undelivered(
            f"its SHA-256 is {wrong} instead of {file.sha256}, so it was deleted; {IN_BETWEEN}"
        )


def _is_right(file: RemoteFile, part: Part) -> bool:
    return file.sha256 in (None, part.sha256)


def _source_file(file: RemoteFile, source: Path) -> Path:
    try:
        if source.is_dir():
            source = source / file.file_name
        if source.is_file():
            return source
        what = "is not a file" if source.exists() else "is not there"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    raise _no_source(file, source, what)


def _copy(file: RemoteFile, source: Path, part: Part, progress: Progress) -> None:
    total_bytes = source.stat().st_size
    part.restart()
    part.ensure_room(total_bytes)
    for data in _read(file, source):
        part.append(data)
        progress(part.size_bytes, total_bytes)
    if not _is_right(file, part):
        wrong = part.sha256
        part.restart()
        raise _no_source(
            file, source, f"is not what was published (SHA-256 {wrong} instead of {file.sha256})"
        )


def _read(file: RemoteFile, source: Path) -> Iterator[bytes]:
    """The source in pieces; its errors are not those of the disk that is written to."""
    try:
        with source.open("rb") as opened:
            while data := opened.read(_COPIED_BYTES):
                yield data
    except OSError as error:
        raise _no_source(file, source, f"cannot be read ({error.strerror})") from error


def _no_source(file: RemoteFile, source: Path, what: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{source} {what}: give {file.file_name} as published, or the folder that it is in; "
        f"openai-whisper keeps it in ~/.cache/whisper, and it is published at {file.url}"
    )


def _unavailable(file: RemoteFile, what: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{what}, or copy {file.file_name} from another machine and run: "
        f"transcribe models fetch {file.name} --from FOLDER; to try the program without it, run: "
        "transcribe demo (or use --model demo)."
    )
