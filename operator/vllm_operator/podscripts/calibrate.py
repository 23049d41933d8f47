"""Stands in until it is written."""
