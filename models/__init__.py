"""Which model, loaded how, lent to whoever asks.

    "small", "demo", "my.pt"
      │  registry     what is known of each Whisper               WhisperSpec
      │  weights      where its file is; fetched if need be       Weights
      │  checkpoint   read without trust, built without waste     Checkpoint, whisper.Whisper
      │  quantise     which precision, and int8 arithmetic
      ▼  engines/     sound in, segments out                      SpeechEngine, SpeechDetector

`pool` tells this story and keeps what is loaded; `demo` is a tiny Whisper of our own.
Nothing here knows a job, a media file, a subtitle or the environment.
"""
