"""``python -m laconic.cli``."""

from laconic.cli.main import main

if __name__ == "__main__":
    main()
