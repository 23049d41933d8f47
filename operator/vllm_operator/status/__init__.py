"""What is true: from facts to conditions. No I/O; the time is an argument."""
