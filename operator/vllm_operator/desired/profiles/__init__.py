"""Engine profiles: which flags one vLLM family and version understands, as data."""
