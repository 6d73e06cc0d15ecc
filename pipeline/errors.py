"""Errors, ordered by who can act on them.

TranscribeError
├── InputError              the file's owner                         exit code 2
│   ├── BadOption             what was asked cannot be done
│   ├── NoSuchFile            nothing there, or a directory without -r
│   ├── NotAFile              a FIFO, device or socket
│   ├── Unreadable            no permission, or an I/O error
│   ├── NotMedia              empty, text, an archive, a playlist, cut before its index
│   ├── NoAudio               media without a usable audio track
│   └── SourceChanged         the file changed while it was worked on
├── MachineError            the machine's owner                      exit code 3
│   ├── ToolMissing           ffmpeg or ffprobe is not installed
│   ├── ToolFailed            ffmpeg hung, was killed or broke
│   ├── StorageFailed         disk full, folder read-only
│   ├── ModelUnavailable      no weights at hand and none to be had
│   ├── BadCheckpoint         weights that are broken, hostile or not Whisper's
│   ├── OutOfMemory           does not fit
│   ├── Undelivered           a server does not answer, or breaks off
│   ├── TextEngineFailed      a language model does not answer, or only nonsense
│   │   └── QuestionTooLong     it cannot read all of a question at once
│   └── QueueUnavailable      the queue's Redis does not answer, or refuses
└── Busy                    another process is at it                 exit code 4

Anything else that escapes is our bug: exit code 1.
Each message says what happened, to which file, and what to do.
"""

from __future__ import annotations


class TranscribeError(Exception):
    """Something that can happen, told in words for the person who can act on it."""

    exit_code = 1


class InputError(TranscribeError):
    """The file or the request is at fault."""

    exit_code = 2


class BadOption(InputError):
    """What was asked cannot be done."""


class NoSuchFile(InputError):
    """Nothing there, or a directory where a file is wanted."""


class NotAFile(InputError):
    """A FIFO, a device or a socket."""


class Unreadable(InputError):
    """The file is there and cannot be read."""


class NotMedia(InputError):
    """Not something that ffmpeg may or can read."""


class NoAudio(InputError):
    """Media without a usable audio track."""


class SourceChanged(InputError):
    """The file changed while it was worked on."""


class MachineError(TranscribeError):
    """The machine is at fault: its tools, disk, models or memory."""

    exit_code = 3


class ToolMissing(MachineError):
    """ffmpeg or ffprobe is not installed."""


class ToolFailed(MachineError):
    """ffmpeg or ffprobe hung, was killed or broke."""


class StorageFailed(MachineError):
    """A disk is full or a folder cannot be written."""


class ModelUnavailable(MachineError):
    """No weights at hand, and none to be had."""


class BadCheckpoint(MachineError):
    """Weights that are broken, hostile or not Whisper's."""


class OutOfMemory(MachineError):
    """A model or a batch does not fit."""


class Undelivered(MachineError):
    """A server does not answer, or breaks off; it may do better later."""


class TextEngineFailed(MachineError):
    """A language model does not answer, or answers nonsense; it may do better later."""


class QuestionTooLong(TextEngineFailed):
    """A language model cannot read all of a question at once, or did not; a part of it may do."""


class QueueUnavailable(MachineError):
    """The queue's Redis does not answer, or refuses what is asked of it."""


class Busy(TranscribeError):
    """Another process is at work on the same thing."""

    exit_code = 4
