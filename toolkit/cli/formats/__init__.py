"""The formats of a verdict. Each only reads it; all carry the same content."""
