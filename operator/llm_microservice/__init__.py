"""The LLM microservice: the guide's requests, answered by a vLLM behind it.

A program of its own. It shares an image with the operator, and not one import.
"""
