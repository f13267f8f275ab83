"""`capture`, `run`, `generate`, `run_many`: rows through a model, with nothing done twice."""
