"""From a transcript to a summary whose every time is a real one, one stage a file.

    Spoken (reading: SRT, VTT, JSON; or of a Transcript)
      │  parts        split between lines, so that each part, its prompt and its answer fit
      │  prompts      the question: fenced, its control tokens made harmless (cleaning)
      │  asking       the answer by its schema, asked again when it is unusable (schema, answers)
      │  grounding    times that are real lines' starts, by the words that are quoted
      │  merging      notes of parts joined, in steps
      ▼  writing      Summary: Markdown, JSON, chapters

`records` holds the nouns, `summarise` tells the story, `coverage` proves what it covers. Without a
language model, `extractive` picks what was said most typically. Nothing here knows a server, a
model's name or a terminal.
"""
