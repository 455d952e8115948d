"""How FFmpeg makes a sample meeting: a test picture, and two people who take turns."""

from __future__ import annotations

from pathlib import Path

_SECONDS = 120

# Two people who take turns: a voice is a pitch that wanders and its overtones, cut into
# syllables, words and pauses, over the noise of a room.
_VOICE = (
    "0.22*({pulse})*(0.55+0.45*sin(2*PI*{syllables}*t))*gt(sin(2*PI*{words}*t)+0.55,0)"
    "*gt(sin(2*PI*t/23+{turn}),-0.1)"
)
_PULSE = "sin({phase})+0.5*sin(2*{phase})+0.35*sin(3*{phase})+0.2*sin(5*{phase})"


def _voice(pitch: int, syllables: float, words: float, turn: float) -> str:
    phase = f"2*PI*{pitch}*t+9*sin(2*PI*0.6*t)"
    pulse = _PULSE.format(phase=f"({phase})")
    return _VOICE.format(pulse=pulse, syllables=syllables, words=words, turn=turn)


def arguments(
    path: Path, seconds: int = _SECONDS, picture: str = "size=1280x720:rate=10"
) -> list[str]:
    """Return FFmpeg's arguments that write a sample: a test picture and speech-like sound."""
    voices = f"{_voice(118, 4.1, 0.43, 0)}+{_voice(196, 4.7, 0.37, 3.1416)}+0.004*(random(0)-0.5)"
    return [
        *("-f", "lavfi", "-i", f"testsrc2={picture}:duration={seconds}"),
        *("-f", "lavfi", "-i", f"aevalsrc='{voices}':s=48000:d={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "34", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "96k", "-ac", "2", "-f", "mp4", f"file:{path}"),
    ]
