"""One module for each command; `codec.cli.main` imports the one that is called."""
