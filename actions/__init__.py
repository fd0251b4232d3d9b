"""What the dialogue does: thin actions that read slots, call the CRM store and say a response of the domain."""
