"""Services: verbs over one session that the caller opens and commits."""
