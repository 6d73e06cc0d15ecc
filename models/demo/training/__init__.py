"""How the demo model is made: synthetic speech in, a compact Whisper checkpoint out.

    python -m models.demo.training              # everything, about two hours on two cores

The way of the data, one file a step:

    phrases ─► grammar ─► voices ─► speech ─► synth ──► pool        sentences, spoken by machines
    pool ─► mixing ─► spectrum ─► windows                           what Whisper sees and should say
    windows ─► network, shifts, int8, losses ─► train ─► export     a checkpoint in compact form
    export ─► evaluate                                              its figures
    grammar, speech ─► samples                                      the bundled recordings

Needs the extra packages of ``pip install .[dev]`` and the programs espeak-ng, flite, festival
(with the voices kallpc16k, kdlpc16k and us-slt-hts) and ffmpeg. Not part of the installed product.
"""
