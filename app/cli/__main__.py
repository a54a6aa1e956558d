"""`python -m app.cli`: the command `conviction`."""

from app.cli.main import main

raise SystemExit(main())
