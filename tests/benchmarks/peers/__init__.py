"""Ours and its peers, side by side: `make bench`.

Goes in: options of `python -m tests.benchmarks.peers`. Comes out: a table, and JSON.
Does not know: whether what is heard is right; the weights are random.
"""
