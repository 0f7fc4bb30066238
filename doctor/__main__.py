"""`python -m doctor`, the same program as the `doctor` command."""

from doctor.cli import main

if __name__ == "__main__":
    main()
