"""A trained run in the forms that others load: merged weights, GGUF, and what a server needs."""
