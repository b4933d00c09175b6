"""What each operator does to a pair of views: arrays and a Relaxation in, views out, no types."""
