"""What the operator costs: counts that must hold, and timings that are shown beside a bare replay."""
