"""The doors: how work comes in, and what a person sees of it.

    cli ──► batch ──► pipeline.run        one process, one file after the other
     │        └─ progress                 what the terminal shows meanwhile
     └─ settings                          the environment; nobody else reads it

Wiring happens here: `pipeline` and `models` do not know each other.
"""
