"""From a media file to subtitles, one stage a file.

    talk.mkv
      │  probe        what is in it, which audio track          MediaInfo     media.json
      │  convert      16 kHz mono, on the media's own clock     Audio         audio.wav
      │  speech       where somebody speaks                     Window …      windows.json
      │  language     which language, asked over the whole      LanguageGuess language.json
      │  transcribe   what is said; appended as it comes        Heard …       heard.jsonl
      │  cues         laid out for reading                      Cue …
      ▼  subtitles    written whole or not at all                             talk.en.srt

`types` holds the nouns, `protocols` what engines promise, `run` tells the story, `folder` keeps
what a job has so far (the right column), `store` all jobs.
Nothing here knows a model by name, a queue, a terminal or the environment.
"""
