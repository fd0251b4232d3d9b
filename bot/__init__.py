"""The dialogue side of Warmline: what Rasa loads by the paths named in its YAML files."""
