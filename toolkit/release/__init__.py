"""What happened, and what others receive: run record, card, notices, bills of materials, release, verification."""
