"""Reading another CPython process from outside: its version, and the identity of its threads."""
