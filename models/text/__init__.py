"""Language models that write: one interface, several homes.

Goes in: where a model lives, then questions. Comes out: answers, or errors that say what to do.
Does not know: transcripts, summaries, prompts.

    http://…  ─ address ─ servers ───────────┐
    qwen3-4b  ─ files ─┐                     ├─ chat ─ dialects ─ wire ─ line
    my.gguf   ─ gguf ──┴─ choose_llm ─ llama ┘
                                         └─ llama_process ─ llama_child

`lending` is the door: it tells the homes apart, and keeps what is lent; `opening` starts a model
on this machine. `density` judges tokens for servers that cannot count them.
"""
