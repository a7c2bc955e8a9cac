"""What happened, and what others receive: the run record, the card, notices, bills of materials, release and verification."""
