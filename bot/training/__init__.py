"""Trains the text encoder. Needs PyTorch; nothing here is imported when Warmline runs."""
