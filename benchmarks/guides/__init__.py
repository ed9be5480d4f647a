"""Guides against uniform steps, before judges that never taught anything here."""
