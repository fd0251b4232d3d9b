"""The CRM store: what Warmline remembers, the rules it keeps and the verbs that change it."""
