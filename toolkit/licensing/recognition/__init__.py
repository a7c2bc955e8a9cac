"""Recognition: which licence a text is, and what in it is not as its authors wrote it, by fingerprints alone."""
