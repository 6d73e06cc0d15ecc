"""The watched folder: media dropped in, subtitles beside them.

    mounts ─▶ events     something happened: look now
                │
                ▼
    folders ─▶ scan ─▶ settling ─▶ deciding ─▶ watcher ─▶ local: lanes in this process
                ▲         │           ▲                └▶ queued: the ledger
            ignoring   waiting        ├─ folder_settings   transcribe.toml above the file
                                      └─ sidecars          subtitles beside the file

    afterwards, when an outcome is there: after (move or delete, if asked), notices (tell others)

Read records.py for the nouns, then watcher.py for the story: look, settle, decide, hand out.
Polling is the truth: a full scan every few seconds. Events only make the next one come sooner,
so whatever does not tell of changes (NFS, SMB, bind mounts) is slower and nothing else.
"""
