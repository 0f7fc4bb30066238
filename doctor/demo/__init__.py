"""A small shop that can be broken, to see doctor at work: real gunicorn, real Flask, on loopback only."""
