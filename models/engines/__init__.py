"""The engines: each turns sound into segments or into probabilities of speech.

    silero          where speech is
    whisper_torch   what is said, by openai-whisper's rules; shared lets many threads ask it
    whisper_cpp     what is said, by whisper.cpp
    scripted        both, without models: what a script says

Inside whisper_torch:

    clips ─► desk ─► encoder ─► slots ────────────────────────────► reading ─► segments
                                 │ hearing   one window's attempts     │ words, alignment
                                 │ search    its texts, beams          │ segments
                                 │ rules     what may follow
                                 ▼ choosing  the next token
                             decoder   static caches: kernels for int8, whisper's modules for floats
"""
