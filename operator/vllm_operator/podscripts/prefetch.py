"""Placeholder until the branch prefetch is merged."""
