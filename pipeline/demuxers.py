"""Which formats ffmpeg may open: those that are one file with sound in it.

Goes in: nothing. Comes out: their names. Does not know: how ffmpeg is run.
"""

from __future__ import annotations

# A list of the allowed, not of the forbidden, because each ffmpeg adds formats, and because this is
# the gate that holds: playlists and scripts (hls, dash, concat, imf, sdp, avisynth, mlv …) open
# other files or the network and have got round every other limit (CVE-2017-9993, CVE-2023-6605,
# CVE-2026-107697).
# Also left out: devices (lavfi, x11grab …), pictures, subtitles, text art (tty, xbin:
# CVE-2023-6602), tracker music, video without sound, and raw PCM whose rate nobody can know.
# Source: `ffmpeg -demuxers` of 5.1 and 9.0; a name that an ffmpeg does not know does no harm.
DEMUXERS = """
3dostr 4xm aa aac aax ac3 ac4 ace acm act adp ads adx aea afc aiff aix alaw alp amr amrnb amrwb apac
apc ape apm aptx aptx_hd argo_asf argo_brp argo_cvg asf asf_o ast au avi avr avs bethsoftvid bfi
bfstm bink binka bit bmv boa bonk brstm c93 caf cdxl codec2 codec2raw daud dcstr derf dfa dfpwm
dhav dsf dsicin dss dts dtshd dv dxa ea ea_cdata eac3 epaf film_cpk flac flv frm fsb fwse g722
g723_1 g726 g726le g728 g729 gdv genh gsm gxf hca hcom hnm hxvs iamf iff ifv ilbc ipmovie ircam
iss ivr jv kux kvag laf lc3 lmlm4 loas luodat lvf lxf matroska mca mgsts mlp mm mmf mods moflex
mov mp3 mpc mpc8 mpeg mpegts msf mtaf mtv mulaw musx mv mvi mxf mxg nistsphere nsp nsv nut nuv
ogg oma osq paf pmp pp_bnk psxstr pva pvf qcp qoa r3d redspark rka rl2 rm roq rpl rsd rso s337m
sbc scd sdns sds sdx shn siff simbiosis_imx sln smjpeg smk smush sol sox spdif svag svs swf tak
thp tiertexseq tmv truehd tta ty usm vag vidc vividas vivo vmd voc vpk vqf w64 wady wav wavarc
wc3movie wsaud wsd wsvqa wtv wv wve xa xmd xmv xvag xwma yop
""".split()  # noqa: SIM905  - two hundred quoted names would hide the list
