"""``python -m phyda_cli``."""

from phyda_cli.app import main

if __name__ == "__main__":
    main()
