"""What `cotam doctor` looks at."""
