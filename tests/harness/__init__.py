"""A real Kubernetes control plane on loopback, and the tools that tests use on it."""
