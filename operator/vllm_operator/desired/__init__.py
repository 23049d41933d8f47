"""What should be: from facts to manifests. No I/O, no clock."""
