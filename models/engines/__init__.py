"""The engines: each turns sound into segments or into probabilities of speech.

silero          where speech is
whisper_torch   what is said, by openai-whisper on torch
scripted        both, without models: what a script says
"""
