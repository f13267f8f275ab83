"""What is right in each unit: a file a unit."""
