"""Vocabulary: the resources, their rules, and the facts that the other rooms speak about."""
