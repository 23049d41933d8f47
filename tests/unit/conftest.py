"""Hypothesis for all unit tests: no example is judged by its time, and each run tries the same ones."""

from hypothesis import settings

settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
