"""Models behind the step protocol, one file for each engine that can run them."""
