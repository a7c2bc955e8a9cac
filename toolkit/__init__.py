"""`tk`: licence compliance and fine-tuning of open-weight models, joined."""

__version__ = "0.1.0"
