"""`python -m training STAGE`."""

from training.cli import main

main()
