"""Reading a message: language, script, entities, intent, sentiment."""
