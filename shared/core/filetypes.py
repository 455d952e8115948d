"""Which files are recordings or audio, by their names."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath

#: Extensions of recordings and audio that the media engine can open, with their types: IANA's, or
#: ``x-`` where there is none. Python's own table differs between versions, lacks half of them, and
#: counts subtitles as audio. Formats without a header (.sln, .g722, .gsm) are left out: nothing in
#: such a file names its rate.
RECORDING_TYPES = {
    ".3g2": "video/3gpp2",
    ".3ga": "audio/3gpp",
    ".3gp": "video/3gpp",
    ".aac": "audio/aac",
    ".ac3": "audio/ac3",
    ".adts": "audio/aac",
    ".aif": "audio/aiff",
    ".aifc": "audio/aiff",
    ".aiff": "audio/aiff",
    ".amr": "audio/amr",
    ".ape": "audio/x-ape",
    ".asf": "video/x-ms-asf",
    ".au": "audio/basic",
    ".avi": "video/x-msvideo",
    ".awb": "audio/amr-wb",
    ".bwf": "audio/wav",
    ".caf": "audio/x-caf",
    ".dsf": "audio/x-dsf",
    ".dss": "audio/x-dss",
    ".dts": "audio/vnd.dts",
    ".dtshd": "audio/vnd.dts.hd",
    ".eac3": "audio/eac3",
    ".ec3": "audio/eac3",
    ".f4v": "video/mp4",
    ".flac": "audio/flac",
    ".flv": "video/x-flv",
    ".iamf": "audio/iamf",
    ".latm": "audio/mp4a-latm",
    ".loas": "audio/mp4a-latm",
    ".m2t": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".m4r": "audio/mp4",
    ".m4v": "video/mp4",
    ".mka": "audio/matroska",
    ".mkv": "video/matroska",
    ".mlp": "audio/vnd.dolby.mlp",
    ".mov": "video/quicktime",
    ".mp1": "audio/mpeg",
    ".mp2": "audio/mpeg",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpa": "audio/mpeg",
    ".mpc": "audio/x-musepack",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mpga": "audio/mpeg",
    ".mts": "video/mp2t",
    ".nist": "audio/x-nist",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/opus",
    ".qcp": "audio/qcelp",
    ".qt": "video/quicktime",
    ".ra": "audio/x-realaudio",
    ".rf64": "audio/wav",
    ".sf": "audio/x-ircam",
    ".snd": "audio/basic",
    ".sox": "audio/x-sox",
    ".sph": "audio/x-nist",
    ".spx": "audio/ogg",
    ".tak": "audio/x-tak",
    ".thd": "audio/x-truehd",
    ".ts": "video/mp2t",
    ".tta": "audio/x-tta",
    ".vob": "video/mpeg",
    ".voc": "audio/x-voc",
    ".w64": "audio/x-w64",
    ".wav": "audio/wav",
    ".wave": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".wma": "audio/x-ms-wma",
    ".wmv": "video/x-ms-wmv",
    ".wv": "audio/x-wavpack",
}


_GUESS = mimetypes.MimeTypes(filenames=())  # without the machine's own table


def mime_type(name: str) -> str:
    """Return the type of a file by its extension, ``application/octet-stream`` if unknown."""
    known = RECORDING_TYPES.get(PurePosixPath(name).suffix.lower())
    return known or _GUESS.guess_type(name)[0] or "application/octet-stream"


def is_audio_name(name: str) -> bool:
    """Return whether a file is audio without video, by its extension."""
    return RECORDING_TYPES.get(PurePosixPath(name).suffix.lower(), "").startswith("audio/")
