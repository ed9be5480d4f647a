"""Entry point of `python -m training.export RUN_DIR FILE`."""

from training.export.codec import main

if __name__ == "__main__":
    main()
