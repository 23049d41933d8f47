"""Effects: watching, reconciling, writing."""
