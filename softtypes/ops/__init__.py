"""The public functions: resolve the relaxation, call the rule, wrap the result."""
