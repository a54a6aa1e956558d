"""The Model Context Protocol (MCP): tools with which a language model asks a running gateway."""
