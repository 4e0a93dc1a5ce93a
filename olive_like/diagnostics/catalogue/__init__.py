"""The codes, a module per range."""
