"""Programs that run inside pods: package data, not imported by the operator."""
