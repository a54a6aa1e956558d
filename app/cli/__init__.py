"""The command `conviction`: its subcommands, the HTTP client and the text that they print."""
