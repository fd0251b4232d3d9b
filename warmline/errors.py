"""Errors of the commands."""


class CommandFailed(Exception):
    """A command could not do its work; the message is one clear line."""
