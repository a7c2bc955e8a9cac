"""One run in several processes: torchrun starts them, each trains its share, the first alone writes.

A run on one device passes through here as a team of one, so that the rest of the room asks no questions.
"""
