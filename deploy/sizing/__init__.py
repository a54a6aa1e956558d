"""How much of what is needed: what a GPU serves of Mistral 7B AWQ, and what requests leave in Valkey."""
