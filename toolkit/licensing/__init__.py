"""May I? Licence data, lineage, intended use, and the verdict that joins them."""
