"""Ground floor: pure maths on plain arrays, last axis, no types and no options."""
