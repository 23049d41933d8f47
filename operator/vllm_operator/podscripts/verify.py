"""Stands for the program that looks at a calibration's files before a server starts."""
