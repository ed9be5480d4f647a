"""`python -m codec.cli`."""

from codec.cli.main import main

if __name__ == "__main__":
    main()
