"""Which kinds of file are opened: plain containers, which hold all that they show.

Playlists and descriptions (HLS, DASH, ffconcat, IMF, SDP, numbered images, ...) name further files or addresses that
FFmpeg would open. Whatever is not in this list is refused, and no protocol but that of local files is spoken.
"""

from __future__ import annotations

import os

import av

from tdn_data.pipeline.files import open_regular
from tdn_data.pipeline.video.structure import MAX_MOVIE_BYTES, read_boxes

_GENERAL = """
    matroska,webm mov,mp4,m4a,3gp,3g2,mj2 avi asf asf_o flv live_flv kux mpegts mpegtsraw mpeg ogg nut mxf gxf
    rm ivr wtv dv swf nsv nuv pva pmp rpl smjpeg smk bink film_cpk flic gif apng webp ivf iv8 jv 4xm amv anm avr
    avs bethsoftvid bfi bmv c93 cdg cdxl cine dhav dsicin dxa ea filmstrip frm gdv hnm idcin idf iff ifv
    ingenient ipmovie ipu lmlm4 lvf lxf mgsts mlv mm mods moflex mpjpeg msnwctcp mtv mv mvi mxg paf pdv r3d rl2
    roq sdr2 ser sga siff smush svs tiertexseq thp tmv txd ty usm vividas vivo vmd wc3movie wsvqa xmv yop
    yuv4mpegpipe argo_brp kvag luodat
"""
_BARE = """
    h261 h263 h264 hevc vvc evc apv av1 obu m4v mpegvideo mjpeg mjpeg_2000 cavsvideo avs2 avs3 vc1 vc1test dirac dnxhd
"""
_PICTURES = """
    bmp_pipe dds_pipe dpx_pipe exr_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_anim jpegxl_pipe
    pam_pipe pbm_pipe pcx_pipe pgm_pipe png_pipe ppm_pipe qoi_pipe sgi_pipe tiff_pipe webp_pipe
"""
_SOUND = "aac ac3 aiff amr ape au caf dts eac3 flac mp3 oga opus truehd tta voc w64 wav wv"  # to say: no video
BARE_STREAMS = frozenset(_BARE.split())  # without a container, and so without times
FORMATS = " ".join((_GENERAL, _BARE, _PICTURES, _SOUND)).split()
OPEN_OPTIONS = {
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",
    "enable_drefs": "0",  # MOV files whose pictures lie in other files
}
_ANIMATION = 1 << 1  # of the flags in WebP's VP8X chunk
_MAX_REFERENCES = 1000
_EMPTY_REFERENCE_BYTES = 12


def is_unlisted(error: Exception) -> bool:
    """Whether FFmpeg knows a file's kind and it is not in the list: "invalid argument" is what it says then."""
    return isinstance(error, av.ArgumentError)


def undecodable_kind(path: str | os.PathLike[str]) -> str | None:
    """What a file is, in words, that opens and of which no picture can be had; None for damage."""
    with open_regular(path, what="video") as file:
        head = file.read(32)
        if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) > 20 and head[20] & _ANIMATION:
            return "an animated WebP, which FFmpeg does not decode"
        if any(_names_other_file(part) for part in read_boxes(file, b"moov", max_bytes=MAX_MOVIE_BYTES)):
            return "a movie whose pictures lie in another file, which is not opened"
    return None


def _names_other_file(movie: bytes) -> bool:
    """Whether a movie box has a data reference (ISO 14496-12, 8.7.2) that names a file and is not the movie's own."""
    position = movie.find(b"dref")
    while position >= 0:
        entry = position + 12  # after kind, version, flags and the number of entries
        for _ in range(min(int.from_bytes(movie[position + 8 : entry], "big"), _MAX_REFERENCES)):
            size, own = int.from_bytes(movie[entry : entry + 4], "big"), movie[entry + 11 : entry + 12]
            if size > _EMPTY_REFERENCE_BYTES and own and not own[0] & 1:
                return True
            entry += size
        position = movie.find(b"dref", position + 4)
    return False
