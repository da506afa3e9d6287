"""What a file is, by its first bytes: never by its name, and never by what a server says."""

from __future__ import annotations

from typing import NamedTuple

HEAD = 1_024  # bytes that are enough to tell


class Kind(NamedTuple):
    media_type: str
    suffix: str


_AT_START = (
    (b"OggS", Kind("application/ogg", ".ogg")),
    (b"fLaC", Kind("audio/flac", ".flac")),
    (b"FLV\x01", Kind("video/x-flv", ".flv")),
    (b"ID3", Kind("audio/mpeg", ".mp3")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("video/x-ms-asf", ".asf")),
    (b"\x00\x00\x01\xba", Kind("video/mpeg", ".mpg")),  # program stream
    (b"\x00\x00\x01\xb3", Kind("video/mpeg", ".mpg")),  # bare MPEG-1/2 video
    (b"\x06\x0e\x2b\x34", Kind("application/mxf", ".mxf")),
    (b"wvpk", Kind("audio/x-wavpack", ".wv")),
    (b"#!AMR", Kind("audio/amr", ".amr")),
    (b"caff", Kind("audio/x-caf", ".caf")),
    (b"DKIF", Kind("video/x-ivf", ".ivf")),
)
_FORMS = {  # container and form type, bytes 0..4 and 8..12
    (b"RIFF", b"WAVE"): Kind("audio/wav", ".wav"),
    (b"RF64", b"WAVE"): Kind("audio/wav", ".wav"),
    (b"RIFX", b"WAVE"): Kind("audio/wav", ".wav"),
    (b"RIFF", b"AVI "): Kind("video/x-msvideo", ".avi"),
    (b"FORM", b"AIFF"): Kind("audio/aiff", ".aiff"),
    (b"FORM", b"AIFC"): Kind("audio/aiff", ".aiff"),
}
_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"crx ")  # `ftyp` brands of still images
_OLD_MOVIE = (b"moov", b"mdat", b"wide", b"pnot")  # QuickTime before `ftyp`


def sniff(head: bytes) -> Kind | None:
    """The media kind of a file that starts with `head` (its first `HEAD` bytes, or all of it), None if it is none."""
    for magic, kind in _AT_START:
        if head.startswith(magic):
            return kind
    if form := _FORMS.get((head[:4], head[8:12])):
        return form
    if head[:4] == b"\x1a\x45\xdf\xa3":  # EBML
        return Kind("video/webm", ".webm") if b"webm" in head[:64] else Kind("video/x-matroska", ".mkv")
    return _movie(head) or _transport_stream(head) or _mpeg_audio(head)


def _movie(head: bytes) -> Kind | None:
    atom, brand = head[4:8], head[8:12]
    if atom in _OLD_MOVIE or (atom == b"ftyp" and brand == b"qt  "):
        return Kind("video/quicktime", ".mov")
    if atom != b"ftyp" or brand in _PICTURES:
        return None
    if brand in (b"M4A ", b"M4B "):
        return Kind("audio/mp4", ".m4a")
    return Kind("video/3gpp", ".3gp") if brand[:2] == b"3g" else Kind("video/mp4", ".mp4")


def _transport_stream(head: bytes) -> Kind | None:
    for first, packet in ((0, 188), (4, 192)):  # plain, and with the time codes of Blu-ray
        headers = [head[at : at + 4] for at in range(first, first + 4 * packet, packet)]
        if all(len(header) == 4 and header[0] == 0x47 and header[3] & 0x30 for header in headers):  # sync, not reserved
            return Kind("video/mp2t", ".ts")
    return None


def _mpeg_audio(head: bytes) -> Kind | None:
    """A frame header without ID3 in front: sync bits, then fields with forbidden values (ISO 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:  # ADTS: 12 sync bits, layer 0
        return Kind("audio/aac", ".aac")
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, frequency = head[2] >> 4, head[2] >> 2 & 3
    is_layer_2_or_3 = layer in (1, 2)  # nobody writes layer I, and UTF-16 text would look like it
    is_frame = head[1] & 0xE0 == 0xE0 and version != 1 and is_layer_2_or_3 and rate not in (0, 15) and frequency != 3
    return Kind("audio/mpeg", ".mp3") if is_frame else None
