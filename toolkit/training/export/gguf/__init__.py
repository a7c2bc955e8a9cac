"""GGUF, the one-file format of llama.cpp: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.

The package `gguf` writes the container and knows the names of tensors; which architecture needs what is said here.
"""
