"""Which model, loaded how, lent to whoever asks.

    "auto", "small", "demo", "my.pt"
      │  registry     what is known of each Whisper               WhisperSpec
      │  memory       what is free: nvml (GPUs), ram              Machine
      │  needs        what a model takes                          Need
      │  choose       which one, where, and why                   Choice
      │  weights      where its file is; fetch ► download, part   Weights
      │  checkpoint   read without trust, built without waste     Checkpoint, whisper.Whisper
      │  quantise     int8, int4; cache keeps what was made
      │  descent      less of everything when memory runs out     Loaded
      ▼  engines/     sound in, segments out; kernels/ their int8  SpeechEngine, SpeechDetector

`pool` tells this story and keeps what is loaded; `inventory` takes stock for people; `llms` is the
table of language models; `demo` is a tiny Whisper of our own.
Nothing here knows a job, a media file, a subtitle or the environment.
"""
