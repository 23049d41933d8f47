"""A Kubernetes operator that runs vLLM model servers on CPUs and Intel Gaudi accelerators."""

__version__ = "0.1.0"
