"""Which files are recordings or audio, by their names."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath

#: Extensions of recordings and audio, with their types. Python's own table differs between
#: versions, lacks half of them, and counts subtitles as audio.
RECORDING_TYPES = {
    ".3g2": "video/3gpp2",
    ".3gp": "video/3gpp",
    ".aac": "audio/aac",
    ".ac3": "audio/ac3",
    ".adts": "audio/aac",
    ".aif": "audio/aiff",
    ".aifc": "audio/aiff",
    ".aiff": "audio/aiff",
    ".amr": "audio/amr",
    ".asf": "video/x-ms-asf",
    ".au": "audio/basic",
    ".avi": "video/x-msvideo",
    ".caf": "audio/x-caf",
    ".flac": "audio/flac",
    ".flv": "video/x-flv",
    ".m2ts": "video/mp2t",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".m4v": "video/mp4",
    ".mka": "audio/matroska",
    ".mkv": "video/matroska",
    ".mov": "video/quicktime",
    ".mp2": "audio/mpeg",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mts": "video/mp2t",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/opus",
    ".ts": "video/mp2t",
    ".vob": "video/mpeg",
    ".w64": "audio/x-w64",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".wma": "audio/x-ms-wma",
    ".wmv": "video/x-ms-wmv",
}


_GUESS = mimetypes.MimeTypes(filenames=())  # without the machine's own table


def mime_type(name: str) -> str:
    """Return the type of a file by its extension, ``application/octet-stream`` if unknown."""
    known = RECORDING_TYPES.get(PurePosixPath(name).suffix.lower())
    return known or _GUESS.guess_type(name)[0] or "application/octet-stream"


def is_audio_name(name: str) -> bool:
    """Return whether a file is audio without video, by its extension."""
    return RECORDING_TYPES.get(PurePosixPath(name).suffix.lower(), "").startswith("audio/")
