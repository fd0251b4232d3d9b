"""Queries: read models for the pages and the bot; they change nothing."""
