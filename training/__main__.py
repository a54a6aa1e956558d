"""`python -m training STAGE`."""

from training.cli.main import main

main()
