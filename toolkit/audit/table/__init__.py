"""A table of hub metadata, audited by columns: rows that are alike are judged once."""
