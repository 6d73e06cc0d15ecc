"""The doors: how work comes in, and what a person sees of it.

    cli ──► batch ──► pipeline.run        one process, one file after the other
     │        └─ progress                 what the terminal shows meanwhile
     ├─ session                           what all commands share: how they start and end
     ├─ model_commands, model_table       what fits here, and what is at hand
     ├─ doctor                            what is wrong, and how to mend it
     └─ settings                          the environment; nobody else reads it

Wiring happens here: `pipeline` and `models` do not know each other.
"""
