"""The doors: how work comes in, and what a person sees of it.

    cli ──► batch ──► pipeline.run        one process; lanes: files side by side
     │        └─ progress                 what the terminal shows meanwhile
     ├─ watch_command ──► watch/          folders: files that are complete go to lanes or ledger
     ├─ enqueue ──► ledger                which job is where: Redis, changed by scripts/ only
     ├─ worker_command ──► fleet          one machine's workers, and the keeper that reaps and wakes
     │                      └─ crew       a Celery worker process of one stage
     │                          └─ app    messages: "there is work", no more
     │                          └─ tasks  claims the best job, works, claims the next
     │                              └─ beat   the lease, and what the ledger wants of a job
     ├─ queue_commands, change_commands   status, retry, cancel, …; status_table, follow, failures
     ├─ session                           what all commands share: how they start and end
     ├─ model_commands, model_table       what fits here, and what is at hand
     ├─ doctor                            what is wrong, and how to mend it
     ├─ remote, web                       media that lie behind an address
     ├─ log, metrics                      for those who watch a fleet
     └─ settings                          the environment; nobody else reads it

Wiring happens here: `pipeline` and `models` do not know each other.
"""
