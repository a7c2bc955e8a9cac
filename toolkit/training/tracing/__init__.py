"""The exact tracer: one real training step on tensors without memory, and what is alive at its widest moment."""
