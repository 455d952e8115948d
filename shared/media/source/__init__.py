"""How FFmpeg reads a recording: a descriptor, a pipe, or a loopback HTTP server."""
