"""The arithmetic of a CPU, mostly in int8, in loops that numba compiles; no torch, no Whisper.

tiles            products of small blocks, in the processor's own instructions
arithmetic       rows of numbers, and products of matrices made of tiles
encoder_steps    the encoder, for some rows of a window
decoder_steps    the decoder, for rows of many windows; listening: its cross-attention
votes            the next token of each row; likelihood: how likely a whole text is
salience         what attention says of each token; warping: when it was said, by that
processors       the instructions that there are for products
barrier, shares  threads that walk through the same steps, each with its part
"""
