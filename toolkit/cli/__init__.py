"""Words and exit codes: one file per command, and the one place where errors meet the user."""
