"""Files: strict YAML with line numbers, checked mappings, digests, atomic writes, and what ships with the package."""
