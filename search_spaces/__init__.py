"""What may vary in a sweep, and how far: one YAML file a space."""
