"""Files: written aside and renamed, tensors with their provenance, JSON as the standard has it."""
