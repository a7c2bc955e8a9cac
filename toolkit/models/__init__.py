"""What is it? From a model reference to a folder, its card, its configuration, its lineage and its digests."""
