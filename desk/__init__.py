"""The agents' desk: the JSON API, the pages, and what is live on them."""
