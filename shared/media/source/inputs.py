"""How an untrusted file is handed to FFmpeg: as one descriptor, one loopback address or a pipe.

A local file is handed over as an open descriptor, so that FFmpeg needs no right to open
anything by name, and no name ever reaches its command line. Any other file is read by range
from a loopback address, or through a pipe where it is read in order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.core.errors import CancelledError, Code, PermanentError, TransientError
from shared.core.ports import ByteSource
from shared.media.ffmpeg.process import Job, Process
from shared.media.formats.wave_chunks import is_one_run
from shared.media.formats.wave_repair import RepairedSource, find_patches
from shared.media.presets import Recipe
from shared.media.source import stdin
from shared.media.source.stdin import PIECE_BYTES, Feeders

if TYPE_CHECKING:
    from shared.media.source.range_server import RangeServer

#: Containers of recordings and audio. No playlist, manifest, script, picture or device is
#: among them, because those can make FFmpeg read other files or addresses. Left out as well are
#: formats that only one maker's devices write: OMA, whose codecs have no decoder below, and DHAV of
#: surveillance cameras.
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,dtshd,dv,eac3,flac,flv,iamf,ircam,"
    "loas,matroska,webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,"
    "ogg,opus,qcp,rm,sox,tak,truehd,tta,voc,w64,wav,wtv,wv"
)

#: Decoders of audio; nothing else in a file is ever decoded.
DECODERS = (
    "aac,aac_fixed,aac_latm,ac3,ac3_fixed,adpcm_ct,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,"
    "adpcm_sbpro_2,adpcm_sbpro_3,adpcm_sbpro_4,adpcm_swf,adpcm_yamaha,alac,als,amrnb,amrwb,ape,"
    "cook,dca,dfpwm,dolby_e,dsd_lsbf,dsd_lsbf_planar,dsd_msbf,dsd_msbf_planar,dss_sp,eac3,flac,"
    "g722,g723_1,g726,g726le,g729,gsm,gsm_ms,ilbc,libgsm,libgsm_ms,libopencore_amrnb,"
    "libopencore_amrwb,libopus,libspeex,libvorbis,mlp,mp1,mp1float,mp2,mp2float,mp3,mp3float,"
    "mpc7,mpc8,nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,pcm_f32le,pcm_f64be,"
    "pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,pcm_s24be,"
    "pcm_s24le,pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s64be,pcm_s64le,pcm_s8,"
    "pcm_s8_planar,pcm_u16be,pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8,pcm_vidc,"
    "qcelp,qdm2,qdmc,real_144,real_288,s302m,sipr,sonic,speex,tak,truehd,truespeech,tta,vorbis,"
    "wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)

#: The codecs of these decoders, by FFmpeg's names of the codecs, which differ for some
#: (libavcodec/codec_desc.c).
CODECS = frozenset(DECODERS.split(",")) | {
    *("adpcm_g722", "adpcm_g726", "adpcm_g726le", "amr_nb", "amr_wb", "dts", "mp4als"),
    *("musepack7", "musepack8", "ra_144", "ra_288"),
}

#: The most tracks of a file. Its own limit of 1,000 (libavformat's option
#: ``max_streams``) costs minutes, and no recording comes near this one.
MAX_TRACKS = 128

_LIMITS = (
    *("-format_whitelist", DEMUXERS, "-codec_whitelist", DECODERS),
    *("-max_streams", str(MAX_TRACKS + 1)),  # so that one too many shows
)
_PIPE = ("-protocol_whitelist", "pipe", "-blocksize", str(PIECE_BYTES), "-i", "pipe:0")


@dataclass(frozen=True)
class Input:
    """A source that FFmpeg processes can be started on, one after another or side by side."""

    source: ByteSource
    server: RangeServer | None = None
    feeders: Feeders | None = None
    name: str = ""

    def start(
        self,
        job: Job,
        options: Sequence[str],
        outputs: Sequence[str],
        *,
        in_order: bool = False,
        fds: Iterable[int] = (),
        stdout: bool = False,
        slot: int | None = None,
        pulse: bool = False,
    ) -> Process:
        """Start FFmpeg on the source, with ``options`` before it and ``outputs`` after it.

        ``in_order`` promises that FFmpeg reads it from front to back; the rest is as in
        ``Job.start``.
        Raises ``PermanentError`` when the local file cannot be opened any more.
        """
        piped = in_order and self.feeders is not None and is_one_run(self.source)
        with self._opened(piped=piped) as (source, own):
            process = job.start(
                [*options, *_LIMITS, *source, *outputs],
                stdin=piped,
                stdout=stdout,
                fds=(*fds, *own),
                slot=slot,
                pulse=pulse,
                port=None if piped or self.server is None else self.server.port,
            )
        if piped:
            assert self.feeders
            assert self.server
            self.feeders.start(self.server.source, process)
        return process

    @contextmanager
    def _opened(self, *, piped: bool) -> Iterator[tuple[Sequence[str], tuple[int, ...]]]:
        """Yield the arguments that open the source, and the descriptors to hand down."""
        if piped:
            yield _PIPE, ()
        elif self.server:
            yield [*self.server.input_options, "-i", self.server.url], ()
        else:
            assert self.source.local_path is not None
            # One for each process, since the position belongs to it.
            fd = _open(self.source)
            try:
                yield ["-protocol_whitelist", "fd", "-fd", str(fd), "-i", "fd:"], (fd,)
            finally:
                os.close(fd)

    def check(self) -> None:
        """Raise the source's own error, which explains whatever FFmpeg then reported."""
        for one in (self.server, self.feeders):
            if one and one.failure:
                raise one.failure

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise the source's own error instead of the FFmpeg error that it caused.

        A stall while FFmpeg waits for bytes is the source's fault too: retrying may help,
        while a stall of FFmpeg itself would happen again.
        """
        try:
            yield
        except CancelledError:
            raise
        except Exception as error:
            self.check()
            stalled = isinstance(error, PermanentError) and error.code is Code.TIMEOUT
            if stalled and self.server and self.server.waits_for_source:
                raise TransientError("the source did not answer in time") from error
            raise
        else:
            self.check()  # a connection that broke can look like the end of the file


@contextmanager
def reachable(source: ByteSource, name: str = "") -> Iterator[Input]:
    """Make ``source`` reachable for FFmpeg: a local file directly, others by range requests.

    A WAV whose header has a wrong length is served with the header corrected.
    The ending of ``name`` helps FFmpeg to recognise audio formats without a signature.
    """
    if source.local_path and not find_patches(source):
        yield Input(source, name=name)
        return
    # Only here: http.server imports ssl and email, which a local file does not need.
    from shared.media.source import range_server  # noqa: PLC0415

    with (
        stdin.feeders() as feeders,
        range_server.serve(RepairedSource(source), name=name) as server,
    ):
        # Our own readers go through the same cache as FFmpeg.
        yield Input(server.source, server, feeders, name)


def own_file(path: Path, recipe: Recipe) -> list[str]:
    """Return the arguments that open a file made by ``recipe``, and as nothing else.

    A copied stream is as untrusted as its source, and could pose as another format.
    """
    return [
        *("-f", recipe.demuxer, "-codec_whitelist", recipe.decoders),
        *("-protocol_whitelist", "file", "-i", f"file:{path}"),
    ]


def _open(source: ByteSource) -> int:
    if reopen := getattr(source, "reopen", None):
        fd: int = reopen()
        return fd
    assert source.local_path is not None
    try:
        return os.open(source.local_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise PermanentError(Code.GONE, "the file is no longer there") from error
    except PermissionError as error:
        raise PermanentError(Code.FORBIDDEN, "the file may not be read") from error
