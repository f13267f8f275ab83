"""Training a patchscope: what it is taught (`lessons`), how (`training`), and what came of it
(`scores`)."""
