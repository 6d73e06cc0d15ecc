"""The watched folder: media dropped in, subtitles beside them.

    mounts ─▶ events      something happened: look now
                │
                ▼
    roots ──▶ scan ──▶ settling ──▶ deciding ──▶ watcher ──▶ local: lanes in this process
                ▲         ▲           ▲            │  ▲  └──▶ queued: the ledger
            ignoring   rhythm         │     trying, retrying: what came of files, and when again
                   (when to look)     ├─ folder_settings, folder_values: transcribe.toml above
                                      ├─ sidecars: subtitles beside the file
                                      └─ places: both, for one folder

    ending, when an outcome is there: after (move or delete, if asked), notices (a command, webhook)
    wiring puts all of this together; screen has the lines under the bars

Read records.py for the nouns, then watcher.py for the story: look, settle, decide, hand out.
Polling is the truth: a full scan every few seconds. Events only make the next one come sooner,
so whatever does not tell of changes (NFS, SMB, bind mounts) is slower and nothing else.
"""
